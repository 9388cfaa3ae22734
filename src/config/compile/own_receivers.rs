//! Exporters that send to a receiver of the same configuration, so that data circulates without end.

use std::net::IpAddr;

use http::Uri;

use super::Context;
use crate::config::node::Node;
use crate::config::quoting::named;
use crate::receive::ListenerSettings;
use crate::route::Template;

/// The receivers of the configuration, by their addresses.
pub(super) struct OwnReceivers<'a>(pub(super) &'a [ListenerSettings]);

impl OwnReceivers<'_> {
    /// The name of the receiver that listens at `url`, if one does. A URL that depends on the data is not looked at.
    pub(super) fn listening_at(&self, url: &Template) -> Option<&str> {
        let (host, port) = url.as_text().and_then(host_and_port)?;
        let own = self.0.iter().find(|own| is_reached_by(own, &host, port))?;
        Some(&own.name)
    }

    /// Warns if `url`, which `node` says for the exporter `name`, is where one of the receivers listens. A URL that depends
    /// on the data is not looked at.
    pub(super) fn warn_of(&self, url: &Template, name: &str, node: &Node, context: &mut Context<'_>) {
        if let Some(own) = self.listening_at(url)
            && !context.report.has_said(node.span)
        {
            context
                .report
                .warn(
                    node.span,
                    format!(
                        "{} sends to its own receiver {}: what comes in goes round without end",
                        named(name),
                        named(own)
                    ),
                )
                .help("write the endpoint of the upstream, or let the receiver listen on another port");
        }
    }
}

fn is_reached_by(listener: &ListenerSettings, host: &str, port: u16) -> bool {
    let ip = listener.endpoint.ip();
    // Port 0 is a different port each time.
    if port == 0 || listener.endpoint.port() != port {
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
        Err(_) => listener.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)),
    }
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some((uri.host()?.to_owned(), uri.port_u16().unwrap_or(default)))
}
