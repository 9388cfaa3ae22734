//! The id by which a process recognises its own telemetry.

use std::fmt;
use std::sync::Arc;

/// The number of a process, which everybody may know, and a second one that only its own requests carry: by the first alone anybody could
/// have their requests pass without a trace.
pub struct InstanceId {
    published: Arc<str>,
    secret: Arc<str>,
}

impl InstanceId {
    /// A new id.
    pub(super) fn random() -> Self {
        // As a random UUID (RFC 9562, section 5.4).
        let bits = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let digits = format!("{bits:032x}");
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        let secret = format!("{:032x}", rand::random::<u128>());
        Self { published: parts.join("-").into(), secret: secret.into() }
    }

    /// The `service.instance.id` of own telemetry.
    pub fn published(&self) -> &str {
        &self.published
    }

    /// The value of [`INSTANCE_HEADER`](super::INSTANCE_HEADER), for nobody but the endpoint.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InstanceId").field(&self.published).finish()
    }
}
