//! The lines that may be about one person: found, and read together.

use std::io;

use zeroize::Zeroizing;

use crate::accounts::Accounts;
use crate::events::ids::{BlindIndex, Country, IdentityKind, UserId};

use super::groups::{Groups, Keys};
use super::lines::LineReader;
use super::row::Named;

/// Most lines that can be about one person.
const GROUP_LINES_MAX: usize = 256;

/// A line and its number.
type Line = (u32, Zeroizing<Vec<u8>>);

/// A group of lines, read.
pub(super) struct Unit {
    pub(super) lines: Vec<Line>,
    /// Whether the group has more lines than were read.
    pub(super) too_many: Option<Vec<u32>>,
}

impl Accounts {
    /// Which lines may be about one person.
    pub(super) async fn group(
        &self,
        country: Country,
        reader: &LineReader,
        lines: u32,
    ) -> io::Result<Groups> {
        let mut keys = Keys::for_lines(lines);
        for block in 0..reader.blocks() {
            for (line, bytes) in reader.block(block)? {
                let named: Named = serde_json::from_slice(&bytes).unwrap_or_default();
                if let Some(user) = named.user_id {
                    keys.add(short_of_user(user), line);
                }
                let typed =
                    [(IdentityKind::Email, named.email), (IdentityKind::Phone, named.phone)];
                for (kind, typed) in typed {
                    let Some(typed) = typed else { continue };
                    let Ok(identity) = self.reader().read(kind, &typed, Some(country)) else {
                        continue;
                    };
                    keys.add(short_of(identity.index), line);
                    let entered = self.parts.house.entered(identity.index).unwrap_or_default();
                    for user in entered {
                        keys.add(short_of_user(user), line);
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(keys.group(lines))
    }
}

/// The start of a blind index, which is random.
fn short_of(index: BlindIndex) -> [u8; 8] {
    index.mac.0.first_chunk().copied().unwrap_or_default()
}

/// The end of a user's id, which is random.
fn short_of_user(user: UserId) -> [u8; 8] {
    user.as_bytes().last_chunk().copied().unwrap_or_default()
}

/// Reads the group of a line.
pub(super) fn read_group(reader: &mut LineReader, groups: &Groups, line: u32) -> io::Result<Unit> {
    let of_root = groups.lines_of(line);
    let lines = if of_root.is_empty() { groups.lines_with(line) } else { of_root };
    if lines.len() > GROUP_LINES_MAX {
        return Ok(Unit { lines: Vec::new(), too_many: Some(lines) });
    }
    let read = lines.into_iter().map(|line| Ok((line, reader.line(line)?)));
    Ok(Unit { lines: read.collect::<io::Result<_>>()?, too_many: None })
}
