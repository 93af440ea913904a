//! What a spool that fails means to a caller.

use crate::actors::Unavailable;

/// What a spool that cannot be read or written means to a caller.
pub(super) fn unreadable(error: &std::io::Error) -> Unavailable {
    if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
        return Unavailable::ReadOnly;
    }
    tracing::error!(%error, "the spool of bulk syncs fails");
    Unavailable::Storage
}
