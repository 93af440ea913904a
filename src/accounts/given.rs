//! Members of requests that may be left out.

use serde::{Deserialize, Deserializer};

/// Reads a member that may be left out. Null is refused: where it means something, it removes, and
/// a caller who sends it without meaning that should know.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
