//! Where a stream's requests go and what their heads look like: rendered once for all streams if there are no values in
//! them, else for each attempt.

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use percent_encoding::percent_decode_str;

use super::pool::Pool;
use super::{Destination, Shared};
use crate::export::auth::AuthHeader;
use crate::export::upstream::allowance::Allowance;
use crate::export::upstream::body::RequestBody;
use crate::export::upstream::circuit::Circuit;
use crate::export::upstream::destination::Origin;
use crate::export::upstream::detail::{Secrets, configured, keep_secret};
use crate::export::upstream::proxy::{ProxyError, Way};
use crate::export::upstream::traceparent::set_traceparent;
use crate::export::upstream::url::{parse_url, shown, url_of};
use crate::export::{Encoding, OtlpHttpSettings, TargetError, TransportError};
use crate::route::{Place, Template, Values};
use otlp::Signal;

/// Headers that frame a message, which is Sluice's and hyper's to do: another value would break the connection.
pub const FRAMING_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where the requests of one stream go.
pub struct HttpTarget {
    pub(super) destination: Arc<Destination>,
    /// As it stands in the request line: a path, or the whole URL for a proxy.
    uri: Uri,
    /// All but `content-length`; configured ones are marked as sensitive if they may hold a secret. That of `auth` is there
    /// without its value.
    headers: HeaderMap,
    /// What must not be seen if the upstream says it back.
    pub(super) secrets: Secrets,
    /// For people.
    url: String,
}

/// The targets of URLs and headers without values: one for all streams of a signal, whatever their number.
#[derive(Debug, Default)]
pub(super) struct FixedTargets([OnceLock<Arc<HttpTarget>>; 3]);

impl HttpTarget {
    /// Whether the destination is worth asking.
    pub fn circuit(&self) -> &Circuit {
        &self.destination.circuit
    }

    /// The URL, without what may be secret in it: user information and a query.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers, for people who check a configuration: values of configured ones that may be secret are marked as sensitive.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A request, authenticated by this header if there is one; `traceparent` names its span, if it has one.
    pub(super) fn request(
        &self,
        header: Option<&AuthHeader>,
        traceparent: Option<&HeaderValue>,
        body: RequestBody,
    ) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(header) = header {
            header.set(request.headers_mut());
        }
        set_traceparent(request.headers_mut(), traceparent);
        request
    }
}

/// As [`HttpTarget::url`] has it.
impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpTarget").field(&self.url).finish()
    }
}

/// The URL; with `{:#}` also, a line each, the headers, of which what may be secret is not shown.
impl fmt::Display for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        if !f.alternate() {
            return Ok(());
        }
        for (name, value) in &self.headers {
            let shown = value.to_str().ok().filter(|_| !value.is_sensitive()).unwrap_or("[redacted]");
            write!(f, "\n{name}: {shown}")?;
        }
        Ok(())
    }
}

/// Finds out whether requests can be made with these values, as far as URL and headers go.
pub(in crate::export) fn check_target(
    settings: &OtlpHttpSettings,
    values: &impl Values,
) -> Result<(), TargetError> {
    url_of(url_template(settings, values.signal())?, values)?;
    settings.headers.iter().try_for_each(|(name, header)| header_of(name, &header.0, values).map(drop))
}

fn url_template(settings: &OtlpHttpSettings, signal: Signal) -> Result<&Template, TargetError> {
    settings.urls[signal.index()].as_ref().ok_or(TargetError::NoEndpoint(signal))
}

/// The value of the header `name` that this template gives.
fn header_of(
    name: &HeaderName,
    template: &Template,
    values: &impl Values,
) -> Result<HeaderValue, TargetError> {
    let text = template.render(values, Place::Header)?;
    HeaderValue::from_str(&text).map_err(|_| TargetError::header(name, template))
}

impl Shared {
    /// Finds what is wrong with URLs and headers that have no values, before there is data.
    pub(super) fn check_templates(&self) -> Result<(), TransportError> {
        for template in self.settings.urls.iter().flatten() {
            if let Some(text) = template.as_text() {
                parse_url(text).map_err(|source| TransportError::Url { url: shown(text), source })?;
            }
        }
        for (name, template) in &self.settings.headers {
            if FRAMING_HEADERS.contains(&name.as_str()) {
                return Err(TransportError::FramingHeader(name.clone()));
            }
            if template.0.as_text().is_some_and(|text| HeaderValue::from_str(text).is_err()) {
                return Err(TransportError::HeaderValue(name.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn target(&self, values: &impl Values) -> Result<Arc<HttpTarget>, TargetError> {
        let signal = values.signal();
        let template = url_template(&self.settings, signal)?;
        if !self.is_fixed(template) {
            return self.render(template, values).map(Arc::new);
        }
        let slot = &self.fixed.0[signal.index()];
        if let Some(known) = slot.get() {
            return Ok(Arc::clone(known));
        }
        let fresh = Arc::new(self.render(template, values)?);
        Ok(Arc::clone(slot.get_or_init(|| fresh)))
    }

    fn is_fixed(&self, url: &Template) -> bool {
        url.as_text().is_some() && self.settings.headers.iter().all(|(_, value)| value.0.as_text().is_some())
    }

    fn render(&self, template: &Template, values: &impl Values) -> Result<HttpTarget, TargetError> {
        let (rendered, uri) = url_of(template, values)?;
        let origin = Origin::of(&uri).expect("`parse_url` has seen scheme and host");
        let destination = self.destination(&origin)?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let whole = format!("{}://{}{path}", if origin.https { "https" } else { "http" }, origin.authority());
        let mut headers = self.own_headers(&origin);
        let mut secrets = Secrets::default();
        rendered.hidden.iter().for_each(|text| secrets.add(text));
        for pair in path.query().unwrap_or_default().split('&') {
            let value = pair.split_once('=').map_or(pair, |(_, value)| value);
            secrets.add(value);
            secrets.add(&percent_decode_str(value).decode_utf8_lossy());
        }
        let mut uri = Uri::from(path);
        if let Way::Forward(proxy) = &destination.way {
            uri = whole.parse().expect("made of the parts of a URL");
            if let Some(authorization) = proxy.authorization.clone() {
                headers.insert(PROXY_AUTHORIZATION, keep_secret(authorization, &mut secrets));
            }
        }
        for (name, header) in &self.settings.headers {
            let value = header_of(name, &header.0, values)?;
            headers.insert(name.clone(), configured(value, &header.0, values, &mut secrets));
        }
        if let Some(auth) = &self.auth {
            auth.reserve(&mut headers);
        }
        // With the port that is asked for, unless there is something to hide in it.
        let url = shown(if rendered.hidden.is_empty() { &whole } else { &rendered.shown });
        Ok(HttpTarget { destination, uri, headers, secrets, url })
    }

    fn destination(&self, origin: &Origin) -> Result<Arc<Destination>, ProxyError> {
        self.destinations.get(origin, || {
            Ok(Destination {
                origin: origin.clone(),
                way: self.proxies.way(origin)?,
                allowance: Allowance::new(self.max_in_flight),
                circuit: Circuit::new(&self.retry),
                pool: Pool::new(self.pool_limits()),
            })
        })
    }

    /// The headers that Sluice sends by itself; configured ones replace them.
    fn own_headers(&self, origin: &Origin) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        let host = HeaderValue::from_str(&origin.authority()).expect("a host was a part of a URL");
        headers.insert(HOST, host);
        let content_type = match self.settings.encoding {
            Encoding::Proto => "application/x-protobuf",
            Encoding::Json => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(name) = self.settings.compression.in_http() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
        headers
    }
}
