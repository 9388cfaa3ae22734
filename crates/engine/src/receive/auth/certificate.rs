//! The names in the certificate of a sender, which the handshake of TLS has verified.

use rustls::pki_types::CertificateDer;
use tracing::debug;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::tenants::CertificateNames;

/// The names that a certificate has; none, if it can't be read.
pub(in crate::receive) fn names_of(certificate: &CertificateDer<'_>) -> CertificateNames {
    let mut names = CertificateNames::default();
    let certificate = match X509Certificate::from_der(certificate) {
        Ok((_, certificate)) => certificate,
        Err(error) => {
            debug!("the names of a client's certificate can't be read: {error}");
            return names;
        }
    };
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            match name {
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => names.dns.push((*dns).to_owned()),
                _ => {}
            }
        }
    }
    // Of several common names it can't be known which one the authority has verified.
    let mut common = certificate.subject().iter_common_name();
    if let (Some(name), None) = (common.next(), common.next()) {
        names.common_name = name.as_str().ok().map(ToOwned::to_owned);
    }
    names
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn uris_dns_names_and_the_common_name_are_told_apart() {
        let mut params = CertificateParams::new(vec!["Edge.example.com".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://prod/acme".try_into().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("someone@example.com".try_into().unwrap()));
        params.distinguished_name.push(DnType::CommonName, "acme");
        params.distinguished_name.push(DnType::OrganizationName, "globex");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let expected = CertificateNames {
            uris: vec!["spiffe://prod/acme".to_owned()],
            dns: vec!["Edge.example.com".to_owned()],
            common_name: Some("acme".to_owned()),
        };
        assert_eq!(names_of(certificate.der()), expected);
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        assert_eq!(names_of(&CertificateDer::from(&b"no certificate"[..])), CertificateNames::default());
    }
}
