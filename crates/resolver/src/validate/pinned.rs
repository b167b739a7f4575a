//! Whether an answer leads to addresses outside of the pins that judge it.
//!
//! Addresses are A and AAAA records and the hints of SVCB and HTTPS records (RFC 9460 section 7.3).
//! SVCB, HTTPS, SRV and MX records name other hosts too, which a client asks for next: these must be
//! the same pins' matter. A CNAME's target need not, since its addresses stand in the same answer.

use std::net::IpAddr;

use wire::{Malformed, Message, Name, Reader, Record, Section, rtype};

use super::Invalid;
use crate::pins::{Judges, Pins};

/// Parameters of SVCB and HTTPS (RFC 9460 section 14.3.2): IPv4 and IPv6 addresses of the target.
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;

/// Judges the answer and authority sections; no client is given the additional one.
pub(super) fn judge(pins: &Pins, chain: &[Name], message: &Message<'_>) -> Result<(), Invalid> {
    if pins.is_empty() {
        return Ok(());
    }
    let mut judges = pins.judges();
    for name in chain {
        judges.add(name);
    }
    for record in message.records() {
        match record.rtype {
            _ if record.section == Section::Additional => break,
            rtype::A | rtype::AAAA if !judges.is_empty() => {
                let size = if record.rtype == rtype::A { 4 } else { 16 };
                judges.judge(address(record.rdata, size)?)?;
            }
            rtype::SVCB | rtype::HTTPS => service(&judges, message, &record)?,
            rtype::SRV | rtype::MX if !judges.is_empty() => {
                let host = target(message, &record)?.0;
                if host != Name::ROOT {
                    judges.follow(&host)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Judges a service binding. Where nobody judges its owner, its target's pins do.
fn service(judges: &Judges<'_>, message: &Message<'_>, record: &Record<'_>) -> Result<(), Invalid> {
    let (host, mut parameters) = match target(message, record) {
        Ok(read) => read,
        // Nobody's matter, as other rdata that cannot be read.
        Err(_) if judges.is_empty() => return Ok(()),
        Err(malformed) => return Err(malformed.into()),
    };
    let judges = match host == Name::ROOT {
        true => *judges,
        false => judges.follow(&host)?,
    };
    if judges.is_empty() {
        return Ok(());
    }
    while parameters.at() != record.end {
        let mut read = || Some((parameters.u16()?, parameters.u16()?));
        let (key, length) = read().ok_or(Malformed::Record)?;
        let value = parameters.take(length.into()).ok_or(Malformed::Record)?;
        if parameters.at() > record.end {
            return Err(Malformed::Record.into());
        }
        let size = match key {
            IPV4_HINT => 4,
            IPV6_HINT => 16,
            _ => continue,
        };
        for hint in value.chunks(size) {
            judges.judge(address(hint, size)?)?;
        }
    }
    Ok(())
}

/// The host that a record names, and what stands behind it.
fn target<'a>(message: &Message<'a>, record: &Record<'_>) -> Result<(Name, Reader<'a>), Malformed> {
    let before = match record.rtype {
        // Priority, weight and port (RFC 2782).
        rtype::SRV => 6,
        // Priority or preference.
        _ => 2,
    };
    let mut rdata = Reader::new(message.bytes(), record.rdata_at + before);
    let name = rdata.name().map_err(|_| Malformed::Record)?;
    rdata.skip_name().map_err(|_| Malformed::Record)?;
    match rdata.at() <= record.end {
        true => Ok((name, rdata)),
        false => Err(Malformed::Record),
    }
}

fn address(bytes: &[u8], size: usize) -> Result<IpAddr, Malformed> {
    let address = match size {
        4 => <[u8; 4]>::try_from(bytes).map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).map(IpAddr::from),
    };
    address.map_err(|_| Malformed::Record)
}
