//! A life counts its events from 1 without a gap, and no number is two events, in any log.

use std::collections::BTreeMap;

use jcas::events::stamp::Origin;

use super::End;
use crate::ledger::{Checked, ensure};

pub(crate) fn check(end: &End<'_>) -> Checked {
    for log in &end.logs {
        let mut ends: BTreeMap<Origin, u64> = BTreeMap::new();
        for recorded in log {
            let header = &recorded.header;
            let last = ends.entry(header.origin).or_default();
            ensure!(header.sequence == *last + 1, "{header:?} comes after number {last}");
            *last = header.sequence;
            let same = end.union.get(&header.reference()).map(|it| &it.header);
            ensure!(same == Some(header), "{header:?} and {same:?} have one number");
        }
    }
    Ok(())
}
