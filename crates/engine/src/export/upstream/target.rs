//! Where a stream's requests go and what their heads look like: rendered once for all streams if there are no values in
//! them, else for each attempt.

use std::fmt;
use std::sync::Arc;

use http::header::PROXY_AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use percent_encoding::percent_decode_str;

use super::destination::Destination;
use super::protocol::OtlpProtocol;
use super::traceparent::set_traceparent;
use crate::client::{Origin, ProxyError, Secrets, Way, configured, keep_secret, parse_url, shown_url};
use crate::credentials::{AuthHeader, AuthHeaders};
use crate::export::turn::Turns;
use crate::export::{Circuit, TargetError};
use crate::route::{RenderedUrl, Template, TemplateTarget, Values};

/// Where the requests of one stream go.
pub struct OtlpTarget<P: OtlpProtocol> {
    pub(in crate::export) destination: Arc<Destination<P::Pool>>,
    /// As it stands in the request line: a path, or the whole URL for HTTP/2 and for a proxy.
    uri: Uri,
    /// All that don't depend on the attempt; configured ones are marked as sensitive if they may hold a secret. That of `auth` is
    /// there without its value.
    headers: HeaderMap,
    /// What must not be seen if the upstream says it back.
    pub(super) secrets: Secrets,
    /// For people.
    url: String,
}

impl<P: OtlpProtocol> OtlpTarget<P> {
    /// The target of the stream with these values.
    pub(super) fn render(
        protocol: &P,
        values: &impl Values,
        auth: Option<&AuthHeaders>,
        destination: impl FnOnce(&Origin) -> Result<Arc<Destination<P::Pool>>, ProxyError>,
    ) -> Result<Self, TargetError> {
        let (rendered, own_uri) = url_of(url_template(protocol, values)?, values)?;
        let origin = Origin::of(&own_uri).expect("`parse_url` has seen scheme and host");
        let destination = destination(&origin)?;
        let fixed_path = P::fixed_path(values.signal()).map(PathAndQuery::from_static);
        // A path that is not the URL's has nothing to hide.
        let shows_all = fixed_path.is_some() || rendered.hidden.is_empty();
        let path = fixed_path.or_else(|| own_uri.path_and_query().cloned());
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let whole = format!("{}://{}{path}", if origin.https { "https" } else { "http" }, origin.authority());
        let mut headers = protocol.own_headers(&origin);
        let mut secrets = Secrets::default();
        rendered.hidden.iter().for_each(|text| secrets.add(text));
        for pair in path.query().unwrap_or_default().split('&') {
            let value = pair.split_once('=').map_or(pair, |(_, value)| value);
            secrets.add(value);
            secrets.add(&percent_decode_str(value).decode_utf8_lossy());
        }
        if let Way::Forward(proxy) = &destination.way
            && let Some(authorization) = proxy.authorization.clone()
        {
            headers.insert(PROXY_AUTHORIZATION, keep_secret(authorization, &mut secrets));
        }
        for (name, header) in &protocol.upstream().headers {
            let value = header_of::<P>(name, &header.0, values)?;
            headers.insert(name.clone(), configured(value, &header.0, values, &mut secrets));
        }
        if let Some(auth) = auth {
            auth.reserve(&mut headers);
        }
        let names_origin = P::IS_HTTP2 || matches!(destination.way, Way::Forward(_));
        let uri =
            if names_origin { whole.parse().expect("made of the parts of a URL") } else { Uri::from(path) };
        // With the port that is asked for, unless there is something to hide in it.
        let url = shown_url(if shows_all { &whole } else { &rendered.shown });
        Ok(Self { destination, uri, headers, secrets, url })
    }

    /// Whether the destination is worth asking.
    pub(in crate::export) fn circuit(&self) -> &Circuit {
        &self.destination.circuit
    }

    /// Whose turn it is to begin sending there.
    pub(in crate::export) fn turns(&self) -> &Turns {
        &self.destination.turns
    }

    /// The URL, without what may be secret in it: user information and a query.
    pub(in crate::export) fn url(&self) -> &str {
        &self.url
    }

    /// A request, authenticated by this header if there is one; `traceparent` names its span, if it has one.
    pub(super) fn request<B>(
        &self,
        auth: Option<&AuthHeader>,
        traceparent: Option<&HeaderValue>,
        body: B,
    ) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(auth) = auth {
            auth.set(request.headers_mut());
        }
        set_traceparent(request.headers_mut(), traceparent);
        request
    }
}

/// As [`OtlpTarget::url`] has it.
impl<P: OtlpProtocol> fmt::Debug for OtlpTarget<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OtlpTarget").field(&self.url).finish()
    }
}

/// The URL; with `{:#}` also, a line each, the headers, of which what may be secret is not shown.
impl<P: OtlpProtocol> fmt::Display for OtlpTarget<P> {
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
pub(in crate::export) fn check_target<P: OtlpProtocol>(
    protocol: &P,
    values: &impl Values,
) -> Result<(), TargetError> {
    url_of(url_template(protocol, values)?, values)?;
    let headers = &protocol.upstream().headers;
    headers.iter().try_for_each(|(name, header)| header_of::<P>(name, &header.0, values).map(drop))
}

fn url_template<'p, P: OtlpProtocol>(
    protocol: &'p P,
    values: &impl Values,
) -> Result<&'p Template, TargetError> {
    protocol.url(values.signal()).ok_or(TargetError::NoEndpoint(values.signal()))
}

/// The value of the header `name` that this template gives.
fn header_of<P: OtlpProtocol>(
    name: &HeaderName,
    template: &Template,
    values: &impl Values,
) -> Result<HeaderValue, TargetError> {
    let text = P::header_text(name, template.render(values, TemplateTarget::Header)?);
    HeaderValue::from_str(&text).map_err(|_| TargetError::header(name, template))
}

/// The URL that a template gives, as it is rendered and as it is read.
fn url_of(template: &Template, values: &impl Values) -> Result<(RenderedUrl, Uri), TargetError> {
    let rendered = template.render_url(values)?;
    let uri =
        parse_url(&rendered.url).map_err(|source| TargetError::url(&rendered.shown, source, template))?;
    Ok((rendered, uri))
}
