//! AmazonDNS, the VPC's resolver, as the enclave's lookups see it: a recursive resolver (RA set, AA clear) over UDP
//! and TCP on port 53, EDNS (RFC 6891), TC and no records when an answer is larger than the client takes.
//!
//! What it knows is in [`Zone`]. Each packet received is a line in the run directory's `queries`.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use crate::run_dir;
use crate::zone::{Answer, Zone};

/// RFC 1035 §4.2.
const PORT: u16 = 53;

/// Largest UDP answer, bytes, which is also what our OPT says; AmazonDNS's value.
const LARGEST_UDP: u16 = 4096;

/// Largest UDP answer to a client that sent no OPT, bytes (RFC 1035 §4.2.1), and the least an OPT can say (RFC 6891 §6.2.3).
const LARGEST_PLAIN_UDP: u16 = 512;

/// An idle TCP connection is closed after this long.
const TCP_IDLE: Duration = Duration::from_secs(10);

/// Answers a TCP connection may have in its queue.
const TCP_ANSWERS: usize = 64;

/// The server's answering half at one address: hickory-server reads and writes the packets.
pub(crate) struct AmazonDns {
    zone: Arc<Zone>,
    queries: File,
    address: IpAddr,
}

/// Binds UDP and TCP at each address and serves there.
pub(crate) async fn serve(
    zone: Zone,
    addresses: &[IpAddr],
) -> Result<Vec<Server<AmazonDns>>, ServeError> {
    let zone = Arc::new(zone);
    let mut servers = Vec::new();
    for &address in addresses {
        let queries = File::options()
            .append(true)
            .open(run_dir::QUERIES)
            .map_err(ServeError::Queries)?;
        let mut server = Server::new(AmazonDns {
            zone: Arc::clone(&zone),
            queries,
            address,
        });
        let address = SocketAddr::from((address, PORT));
        let bind = |error| ServeError::Bind { address, error };
        server.register_socket(UdpSocket::bind(address).await.map_err(bind)?);
        server.register_listener(
            TcpListener::bind(address).await.map_err(bind)?,
            TCP_IDLE,
            TCP_ANSWERS,
        );
        servers.push(server);
    }
    Ok(servers)
}

/// Why the resolver cannot serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("cannot bind AmazonDNS's address {address}: {error}")]
    Bind {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("cannot open {}: {_0}", run_dir::QUERIES)]
    Queries(io::Error),
}

#[async_trait::async_trait]
impl RequestHandler for AmazonDns {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        handle: R,
    ) -> ResponseInfo {
        self.log(request);
        if is_away(&self.address.to_string()) {
            return failure(request);
        }
        let answer = self.answer(request);
        match reply(request, &answer, handle).await {
            Ok(info) => info,
            Err(error) => {
                tracing::warn!(client = %request.src(), %error, "AmazonDNS could not answer");
                failure(request)
            }
        }
    }
}

impl AmazonDns {
    fn answer(&self, request: &Request) -> Answer {
        let refuse = |code| Answer {
            code,
            records: Vec::new(),
            soa: None,
        };
        if request.metadata.op_code != OpCode::Query {
            return refuse(ResponseCode::NotImp);
        }
        if request
            .edns
            .as_ref()
            .is_some_and(|edns| edns.version() != 0)
        {
            return refuse(ResponseCode::BADVERS);
        }
        let [question] = request.queries.queries() else {
            return refuse(ResponseCode::FormErr);
        };
        match (question.query_class(), question.query_type()) {
            (DNSClass::IN, RecordType::AXFR | RecordType::IXFR) => refuse(ResponseCode::Refused),
            (DNSClass::IN, wanted) => self.zone.answer(question.name(), wanted, &is_away),
            _ => refuse(ResponseCode::Refused),
        }
    }

    /// One write a line, so that lines stay whole; a test may truncate the file while we append.
    fn log(&self, request: &Request) {
        let protocol = match request.protocol() {
            Protocol::Udp => "udp",
            _ => "tcp",
        };
        let line = match request.queries.queries() {
            [question, ..] => {
                let kind = type_name(question.query_type());
                format!("{protocol} {} {kind}\n", question.original().name())
            }
            [] => format!("{protocol} - -\n"),
        };
        if let Err(error) = (&self.queries).write_all(line.as_bytes()) {
            tracing::warn!(%error, "cannot write {}", run_dir::QUERIES);
        }
    }
}

/// Looked at for each query, so that an endpoint or an address of ours can come and go while the sandbox runs.
fn is_away(service: &str) -> bool {
    Path::new(run_dir::WITHOUT).join(service).exists()
}

/// `A`, and `TYPE65280` for what has no name (RFC 3597 §5).
fn type_name(kind: RecordType) -> String {
    match kind {
        RecordType::Unknown(code) => format!("TYPE{code}"),
        known => known.to_string(),
    }
}

async fn reply<R: ResponseHandler>(
    request: &Request,
    answer: &Answer,
    mut handle: R,
) -> Result<ResponseInfo, hickory_server::net::NetError> {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.recursion_available = true;
    metadata.authoritative = false;
    metadata.authentic_data = false;
    metadata.response_code = answer.code;

    let mut largest = LARGEST_PLAIN_UDP;
    let edns = request.edns.as_ref().map(|asked| {
        largest = asked.max_payload().clamp(LARGEST_PLAIN_UDP, LARGEST_UDP);
        let mut edns = Edns::new();
        // hickory-server takes this for the limit of what it sends, so it must be the client's.
        edns.set_max_payload(largest);
        edns.set_dnssec_ok(asked.flags().dnssec_ok);
        edns
    });
    let build = |metadata: Metadata, records, soa| {
        let builder = MessageResponseBuilder::new(&request.queries, edns.as_ref());
        builder.build(metadata, records, &[], soa, &[])
    };
    let whole = || build(metadata, answer.records.as_slice(), answer.soa.as_slice());

    if request.protocol() == Protocol::Udp {
        let mut bytes = Vec::new();
        whole().destructive_emit(&mut BinEncoder::new(&mut bytes))?;
        if bytes.len() > usize::from(largest) {
            metadata.truncation = true;
            return handle.send_response(build(metadata, &[], &[])).await;
        }
    }
    handle.send_response(whole()).await
}

fn failure(request: &Request) -> ResponseInfo {
    let mut metadata = Metadata::new(
        request.metadata.id,
        MessageType::Response,
        request.metadata.op_code,
    );
    metadata.response_code = ResponseCode::ServFail;
    ResponseInfo::from(Header {
        metadata,
        counts: HeaderCounts::default(),
    })
}
