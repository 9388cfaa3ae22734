//! Where a stream's calls go and what their heads look like.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};

use super::pool::{Pool, PoolLimits};
use super::{IDLE, Shared};
use crate::export::auth::AuthHeader;
use crate::export::upstream::allowance::Allowance;
use crate::export::upstream::circuit::Circuit;
use crate::export::upstream::destination::{Destination, Origin};
use crate::export::upstream::detail::{Secrets, configured};
use crate::export::upstream::proxy::{ProxyError, Way};
use crate::export::upstream::traceparent::set_traceparent;
use crate::export::upstream::url::{parse_url, shown, url_of};
use crate::export::{OtlpGrpcSettings, TargetError, TransportError};
use crate::route::{Place, Template, Values};
use crate::rpc::{ACCEPT_ENCODING, ACCEPTED, ENCODING, MEDIA_TYPE};
use otlp::Signal;

/// Where the calls of one stream go.
#[derive(Debug)]
pub struct GrpcTarget {
    pub(super) destination: Arc<Destination<Pool>>,
    /// Scheme, authority, service and method.
    uri: Uri,
    /// All but `grpc-timeout`; configured ones are marked as sensitive if they may hold a secret. That of `auth` is there
    /// without its value.
    headers: HeaderMap,
    /// What must not be seen if the upstream says it back.
    pub(super) secrets: Secrets,
}

/// The targets of endpoints and headers without values: one for all streams of a signal.
#[derive(Debug, Default)]
pub(super) struct FixedTargets([OnceLock<Arc<GrpcTarget>>; 3]);

impl GrpcTarget {
    /// Whether the destination is worth asking.
    pub fn circuit(&self) -> &Circuit {
        &self.destination.circuit
    }

    /// The endpoint with the method's path.
    pub fn url(&self) -> String {
        self.uri.to_string()
    }

    /// The metadata, for people who check a configuration: values of configured ones that may be secret are marked as
    /// sensitive.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The head of a call, authenticated by a header and with a `traceparent` if there are any, that has so much time; zero: all it
    /// wants.
    pub(super) fn request(
        &self,
        (header, traceparent): (Option<&AuthHeader>, Option<&HeaderValue>),
        timeout: Duration,
    ) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = http::Version::HTTP_2;
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(header) = header {
            header.set(request.headers_mut());
        }
        set_traceparent(request.headers_mut(), traceparent);
        if !timeout.is_zero() {
            // At most eight digits.
            let text = match timeout.as_millis() {
                millis @ 0..=99_999_999 => format!("{millis}m"),
                _ => format!("{}S", timeout.as_secs().min(99_999_999)),
            };
            let value = HeaderValue::from_str(&text).expect("digits and a letter are printable");
            request.headers_mut().insert("grpc-timeout", value);
        }
        request
    }
}

/// The URL; with `{:#}` also, a line each, the metadata, of which what may be secret is not shown.
impl fmt::Display for GrpcTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)?;
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

/// Finds out whether calls can be made with these values, as far as endpoint and metadata go.
pub(in crate::export) fn check_target(
    settings: &OtlpGrpcSettings,
    values: &impl Values,
) -> Result<(), TargetError> {
    url_of(url_template(settings, values.signal())?, values)?;
    settings.headers.iter().try_for_each(|(name, header)| metadata_of(name, &header.0, values).map(drop))
}

fn url_template(settings: &OtlpGrpcSettings, signal: Signal) -> Result<&Template, TargetError> {
    settings.url.as_ref().ok_or(TargetError::NoEndpoint(signal))
}

/// The value of the metadata `name` that this template gives.
fn metadata_of(
    name: &HeaderName,
    template: &Template,
    values: &impl Values,
) -> Result<HeaderValue, TargetError> {
    let text = template.render(values, Place::Header)?;
    // Metadata of this name is binary, and written in Base64.
    let text = if name.as_str().ends_with("-bin") { BASE64.encode(text) } else { text };
    HeaderValue::from_str(&text).map_err(|_| TargetError::header(name, template))
}

impl Shared {
    /// Finds what is wrong with endpoints and metadata that have no values, before there is data.
    pub(super) fn check_templates(&self) -> Result<(), TransportError> {
        if let Some(text) = self.settings.url.as_ref().and_then(Template::as_text) {
            parse_url(text).map_err(|source| TransportError::Url { url: shown(text), source })?;
        }
        for (name, template) in &self.settings.headers {
            if template.0.as_text().is_some_and(|text| HeaderValue::from_str(text).is_err()) {
                return Err(TransportError::HeaderValue(name.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn target(&self, values: &impl Values) -> Result<Arc<GrpcTarget>, TargetError> {
        let is_text = |template: &Template| template.as_text().is_some();
        let headers = &self.settings.headers;
        let url = url_template(&self.settings, values.signal())?;
        if !is_text(url) || !headers.iter().all(|(_, value)| is_text(&value.0)) {
            return self.render(url, values).map(Arc::new);
        }
        let slot = &self.fixed.0[values.signal().index()];
        if let Some(known) = slot.get() {
            return Ok(Arc::clone(known));
        }
        let fresh = Arc::new(self.render(url, values)?);
        Ok(Arc::clone(slot.get_or_init(|| fresh)))
    }

    fn render(&self, url: &Template, values: &impl Values) -> Result<GrpcTarget, TargetError> {
        let (_, parsed) = url_of(url, values)?;
        let origin = Origin::of(&parsed).expect("`parse_url` has seen scheme and host");
        let scheme = if origin.https { "https" } else { "http" };
        let uri = format!("{scheme}://{}{}", origin.authority(), values.signal().method());
        let uri = uri.parse().expect("made of the parts of a URL");

        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, ACCEPTED.clone());
        if let Some(name) = self.settings.compression.in_grpc() {
            headers.insert(ENCODING, HeaderValue::from_static(name));
        }
        let mut secrets = Secrets::default();
        for (name, template) in &self.settings.headers {
            let value = metadata_of(name, &template.0, values)?;
            headers.insert(name.clone(), configured(value, &template.0, values, &mut secrets));
        }
        if let Some(auth) = &self.auth {
            auth.reserve(&mut headers);
        }
        Ok(GrpcTarget { destination: self.destination(&origin)?, uri, headers, secrets })
    }

    fn destination(&self, origin: &Origin) -> Result<Arc<Destination<Pool>>, ProxyError> {
        let limits = PoolLimits { idle_timeout: IDLE, max_age: self.settings.max_connection_age };
        self.destinations.get(origin, || {
            Ok(Destination {
                origin: origin.clone(),
                // HTTP/2 goes through a tunnel, whatever the scheme.
                way: match self.proxies.way(origin)? {
                    Way::Forward(proxy) => Way::Tunnel(proxy),
                    way => way,
                },
                allowance: Allowance::new(self.max_in_flight),
                circuit: Circuit::new(&self.retry),
                pool: Pool::new(limits),
            })
        })
    }
}
