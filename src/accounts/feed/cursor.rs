//! A reader's place as text that nobody can make up: the place in words, and a keyed digest over
//! it and the company it is given to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::accounts::Accounts;
use crate::actors::feed::{Place, Told};
use crate::events::ids::CompanyId;

/// Bytes of the digest in a cursor.
const TAG_BYTES: usize = 16;

impl Accounts {
    pub(super) fn cursor(&self, company: CompanyId, place: &Place) -> String {
        // Numbers and names: nothing that JSON could refuse.
        let told = serde_json::to_vec(&place.told()).unwrap_or_default();
        let mut bytes = self.tag(company, &told).to_vec();
        bytes.extend_from_slice(&told);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn place(&self, company: CompanyId, cursor: &str) -> Option<Place> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (tag, told) = bytes.split_first_chunk::<TAG_BYTES>()?;
        let right: bool = tag.ct_eq(&self.tag(company, told)).into();
        let told: Told = serde_json::from_slice(told).ok().filter(|_| right)?;
        self.parts.feed.place(told)
    }

    fn tag(&self, company: CompanyId, told: &[u8]) -> [u8; TAG_BYTES] {
        // A name has no zero byte, so the two cannot be split differently.
        let signed = [company.as_str().as_bytes(), b"\0", told].concat();
        self.cursors.digest(&signed).first_chunk().copied().unwrap_or_default()
    }
}
