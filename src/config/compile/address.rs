//! `endpoint` of listeners.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::Context;
use crate::config::node::Node;
use crate::config::span::Span;

/// The addresses of the listeners that were compiled so far.
#[derive(Default)]
pub(super) struct Addresses {
    taken: Vec<(SocketAddr, Span, String)>,
}

impl Addresses {
    /// Parses the `endpoint` of `what`, and reports it if it overlaps with another.
    pub(super) fn take(
        &mut self,
        text: &str,
        node: &Node,
        what: &str,
        context: &mut Context<'_>,
    ) -> Option<SocketAddr> {
        let address = match parse(text) {
            Ok(address) => address,
            Err(Wrong { reason, help }) => {
                let subject = if node.is_null() { "it".to_owned() } else { context.subject(node) };
                context
                    .report
                    .error(node.span, format!("{subject} can't be listened on: {reason}"))
                    .help(help);
                return None;
            }
        };
        if let Some((_, _, other)) = self.taken.iter().find(|(taken, ..)| overlap(*taken, address)) {
            context
                .report
                .error(node.span, format!("{what} and {other} can't both listen on port {}", address.port()))
                .help("give each a port of its own");
        }
        self.taken.push((address, node.span, what.to_owned()));
        Some(address)
    }
}

const EXAMPLE: &str = "write host and port, such as `127.0.0.1:4318`";

struct Wrong {
    reason: &'static str,
    help: String,
}

fn parse(text: &str) -> Result<SocketAddr, Wrong> {
    let wrong = |reason, help: &str| Err(Wrong { reason, help: help.to_owned() });
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.starts_with("unix:") || text.starts_with(['/', '.']) {
        return wrong("Unix sockets are not served", EXAMPLE);
    }
    if text.contains("://") {
        return wrong("it is a URL", EXAMPLE);
    }
    if text.parse::<u16>().is_ok() {
        return Err(Wrong {
            reason: "it has no host",
            help: format!("write `127.0.0.1:{text}` or `0.0.0.0:{text}`"),
        });
    }
    let Some((host, port)) = text.rsplit_once(':') else { return wrong("it has no port", EXAMPLE) };
    let Ok(port) = port.parse::<u16>() else { return wrong("its port is not a number up to 65535", EXAMPLE) };
    match host {
        // As Go does: every address of the machine.
        "" => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        "localhost" => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => {
            let found = (host, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
            found.map_or_else(|| wrong("its host name can't be resolved", EXAMPLE), Ok)
        }
    }
}

/// The host of an endpoint, if it is a name.
pub(super) fn host_name(endpoint: &str) -> Option<String> {
    let (host, _) = endpoint.rsplit_once(':')?;
    let is_name = !host.is_empty() && !host.starts_with('[') && host.parse::<IpAddr>().is_err();
    is_name.then(|| host.to_owned())
}

/// Whether two listeners would overlap. Port 0 is a different port each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = |ip: IpAddr| ip.is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || everywhere(one.ip()) || everywhere(other.ip()))
}
