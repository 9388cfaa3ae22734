//! Exporters that send to a receiver of the same configuration, so that what comes in goes round without end.

use std::net::{IpAddr, SocketAddr};

use http::Uri;

use super::{Context, address};
use crate::config::node::Node;
use crate::config::secrets::named;
use crate::receive::{ListenerSettings, Protocol};
use crate::route::Template;

/// Where the receivers of the configuration listen.
pub(super) struct OwnReceivers {
    listening: Vec<Listening>,
}

struct Listening {
    /// The receiver's name.
    name: String,
    address: SocketAddr,
    /// The host of its `endpoint`, if it is a name.
    host: Option<String>,
}

impl OwnReceivers {
    pub(super) fn new(listeners: &[ListenerSettings], root: &Node) -> Self {
        let listening = listeners
            .iter()
            .map(|listener| {
                let protocol = if listener.protocol == Protocol::Http { "http" } else { "grpc" };
                let written = root.near(&["receivers", &listener.name, "protocols", protocol, "endpoint"]);
                Listening {
                    name: listener.name.clone(),
                    address: listener.endpoint,
                    host: written.text().and_then(address::host_name),
                }
            })
            .collect();
        Self { listening }
    }

    /// Warns if `url`, which `node` says for the exporter `name`, is where one of the receivers listens. A URL that depends
    /// on the data is not looked at.
    pub(super) fn warn_of(&self, url: &Template, name: &str, node: &Node, context: &mut Context<'_>) {
        let Some((host, port)) = url.as_text().and_then(host_and_port) else { return };
        if let Some(own) = self.listening.iter().find(|own| own.is_reached_by(&host, port))
            && !context.report.has_said(node.span)
        {
            context
                .report
                .warn(
                    node.span,
                    format!(
                        "{} sends to its own receiver {}: what comes in goes round without end",
                        named(name),
                        named(&own.name)
                    ),
                )
                .help("write the endpoint of the upstream, or let the receiver listen on another port");
        }
    }
}

impl Listening {
    fn is_reached_by(&self, host: &str, port: u16) -> bool {
        let ip = self.address.ip();
        // Port 0 is another one each time.
        if port == 0 || self.address.port() != port {
            return false;
        }
        if host.eq_ignore_ascii_case("localhost") {
            return ip.is_loopback() || ip.is_unspecified();
        }
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            // To connect to "any address" is to connect to this machine.
            Ok(called) if called.is_unspecified() => ip.is_loopback() || ip.is_unspecified(),
            Ok(called) if called.is_loopback() && ip.is_unspecified() => ip.is_ipv6() || called.is_ipv4(),
            Ok(called) => called == ip,
            Err(_) => self.host.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(host)),
        }
    }
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some((uri.host()?.to_owned(), uri.port_u16().unwrap_or(default)))
}
