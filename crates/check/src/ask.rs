//! One question to one nameserver: by UDP, by TCP where the answer is cut or UDP cannot get there, as in
//! an enclave, where TCP is all that is carried.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_net::NetError;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// As long as libc waits.
const DEADLINE: Duration = Duration::from_secs(5);

/// A UDP query is sent again once within the deadline.
const RETRIES: u8 = 1;

/// The option that carries an Extended DNS Error (RFC 8914 §2).
const EDE: u16 = 15;

/// Characters of an error's text that are shown.
const MAX_TEXT: usize = 120;

/// One nameserver.
#[derive(Clone)]
pub(crate) struct Asker {
    server: SocketAddr,
    /// Holds the tasks of all exchanges, which end with it.
    runtime: TokioRuntimeProvider,
    udp: DnsExchange<TokioRuntimeProvider>,
}

/// What it said.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) code: ResponseCode,
    /// The answer section.
    pub(crate) records: Vec<Record>,
    /// Info-code and text.
    error: Option<(u16, String)>,
}

impl Asker {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(server: SocketAddr) -> Self {
        let runtime = TokioRuntimeProvider::new();
        let udp = UdpClientStream::builder(server, runtime.clone())
            .with_timeout(Some(DEADLINE))
            .with_max_retries(RETRIES)
            .exchange();
        Self {
            server,
            runtime,
            udp,
        }
    }

    /// # Errors
    ///
    /// No answer at all.
    pub(crate) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Answered, AskError> {
        let server = self.server;
        let query = Query::query(name.clone(), kind);
        let request = DnsRequest::from_query(query, DnsRequestOptions::default());
        match self.udp.send(request.clone()).first_answer().await {
            Ok(response) if !response.metadata.truncation => return Ok(Answered::from(response)),
            Err(NetError::Timeout) => return Err(AskError::Silent { server }),
            Ok(_) | Err(_) => {}
        }
        let tcp = TcpClientStream::exchange(server, None, DEADLINE, None, self.runtime.clone());
        let response = match tcp.await {
            Ok(tcp) => tcp.send(request).first_answer().await,
            Err(error) => Err(error),
        };
        match response {
            Ok(response) => Ok(Answered::from(response)),
            Err(NetError::Timeout) => Err(AskError::Silent { server }),
            Err(source) => Err(AskError::Unreachable { server, source }),
        }
    }
}

impl Answered {
    fn from(response: DnsResponse) -> Self {
        let option = response
            .edns
            .as_ref()
            .and_then(|edns| edns.option(EdnsCode::from(EDE)));
        let error = match option {
            Some(EdnsOption::Unknown(_, bytes)) => extended_error(bytes),
            _ => None,
        };
        Self {
            code: response.metadata.response_code,
            records: response.answers.clone(),
            error,
        }
    }

    /// The response code, and the Extended DNS Error if there is one.
    pub(crate) fn explain(&self) -> String {
        let code = match self.code {
            ResponseCode::NXDomain => "NXDOMAIN: there is no such name".to_owned(),
            ResponseCode::ServFail => "SERVFAIL".to_owned(),
            ResponseCode::Refused => "REFUSED".to_owned(),
            other => other.to_str().to_owned(),
        };
        match &self.error {
            Some((info, text)) if text.is_empty() => format!("{code} (EDE {info})"),
            Some((info, text)) => format!("{code} (EDE {info}: {text})"),
            None => code,
        }
    }

    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.records
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            })
            .collect()
    }
}

/// Reads the option: two bytes of code, then UTF-8 from whoever answered.
fn extended_error(bytes: &[u8]) -> Option<(u16, String)> {
    let (code, text) = bytes.split_first_chunk::<2>()?;
    let text = String::from_utf8_lossy(text);
    let text = text.trim_end_matches('\0').chars().take(MAX_TEXT);
    let shown = text.map(|each| if each.is_control() { '?' } else { each });
    Some((u16::from_be_bytes(*code), shown.collect()))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{server} did not answer within {} s", DEADLINE.as_secs())]
    Silent { server: SocketAddr },
    #[error("{server} cannot be asked: {source}")]
    Unreachable {
        server: SocketAddr,
        source: NetError,
    },
}
