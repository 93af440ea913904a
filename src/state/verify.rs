//! Compares two states tree by tree: the one in use with one freshly folded from the log.
//!
//! Both are streamed in the order of keys, so it takes no memory to speak of. `jcas state verify`
//! and the background check fold the log into a folder of its own and call this.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Peekable;

use super::error::StateError;
use super::kv::{Kv, Pair, Tree};
use super::layout;

/// Where two states differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In which tree.
    pub tree: Tree,
    /// At which key.
    pub key: Box<[u8]>,
    /// How.
    pub kind: DifferenceKind,
}

/// How two states differ at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The reference has it, the state in use has not.
    Missing,
    /// The state in use has it, the reference has not.
    Extra,
    /// They have different things there.
    Different,
    /// What the state in use has there cannot be read.
    Unreadable,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.kind {
            DifferenceKind::Missing => "is missing",
            DifferenceKind::Extra => "should not be there",
            DifferenceKind::Different => "differs",
            DifferenceKind::Unreadable => "cannot be read",
        };
        write!(f, "{} {} {how}", self.tree.name(), hex::encode(&self.key))
    }
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Comparison {
    /// Keys compared.
    pub compared: u64,
    /// Keys that differ.
    pub different: u64,
    /// The first of the differences.
    pub differences: Vec<Difference>,
}

/// Compares the state in use with a reference, and keeps the first `keep` differences. `progress`
/// is told after each key how many were compared.
///
/// Nobody may write either of them meanwhile, or what is being written shows as a difference.
pub fn compare(
    actual: &dyn Kv,
    reference: &dyn Kv,
    keep: usize,
    mut progress: impl FnMut(u64),
) -> Result<Comparison, StateError> {
    let mut found = Comparison::default();
    // The mark is of the checkpoint, not of the log.
    for tree in Tree::ALL.into_iter().filter(|tree| *tree != Tree::Mark) {
        let mut actual = actual.scan(tree, &[]).peekable();
        let mut reference = reference.scan(tree, &[]).peekable();
        while let Some((key, kind)) = step(tree, &mut actual, &mut reference)? {
            found.compared += 1;
            progress(found.compared);
            let Some(kind) = kind else { continue };
            found.different += 1;
            if found.differences.len() < keep {
                found.differences.push(Difference { tree, key, kind });
            }
        }
    }
    Ok(found)
}

type Compared = (Box<[u8]>, Option<DifferenceKind>);

/// The next key of either, and how they differ there.
fn step<I: Iterator<Item = Result<Pair, StateError>>>(
    tree: Tree,
    actual: &mut Peekable<I>,
    reference: &mut Peekable<I>,
) -> Result<Option<Compared>, StateError> {
    let order = match (actual.peek(), reference.peek()) {
        (None, None) => return Ok(None),
        (Some(Ok((actual, _))), Some(Ok((reference, _)))) => actual.cmp(reference),
        (None, Some(_)) | (_, Some(Err(_))) => Ordering::Greater,
        (Some(_), None) | (Some(Err(_)), _) => Ordering::Less,
    };
    let mine = if order.is_le() { actual.next().transpose()? } else { None };
    let theirs = if order.is_ge() { reference.next().transpose()? } else { None };
    Ok(match (mine, theirs) {
        (Some((key, mine)), Some((_, theirs))) => {
            let kind = difference(tree, &key, &mine, &theirs)?;
            Some((key, kind))
        }
        (Some((key, _)), None) => Some((key, Some(DifferenceKind::Extra))),
        (None, Some((key, _))) => Some((key, Some(DifferenceKind::Missing))),
        (None, None) => None,
    })
}

fn difference(
    tree: Tree,
    key: &[u8],
    mine: &[u8],
    theirs: &[u8],
) -> Result<Option<DifferenceKind>, StateError> {
    if mine == theirs {
        return Ok(None);
    }
    if tree != Tree::Users {
        return Ok(Some(DifferenceKind::Different));
    }
    // Rows may list different entries of a tombstone: what counts is the state.
    let user = layout::row_user(key)?;
    let theirs = layout::decode_row(user, theirs)?;
    Ok(match layout::decode_row(user, mine) {
        Ok(mine) => (mine != theirs).then_some(DifferenceKind::Different),
        Err(_) => Some(DifferenceKind::Unreadable),
    })
}
