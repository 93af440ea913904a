//! Within a life, readings never go back, and no two commands share one.

use std::collections::BTreeMap;

use jcas::events::stamp::{Origin, Revision};

use super::End;
use crate::commands;
use crate::ledger::{Checked, ensure};

pub(crate) fn check(end: &End<'_>) -> Checked {
    let mut last: BTreeMap<Origin, (Revision, Option<u64>)> = BTreeMap::new();
    // In the order of lives and numbers.
    for (event, recorded) in &end.union {
        let header = &recorded.header;
        let command = commands::number(&header.cause);
        if let Some((revision, of)) = last.insert(event.origin, (header.revision, command)) {
            let rises =
                header.revision > revision || (header.revision == revision && of == command);
            ensure!(rises, "{header:?} is not after {revision}");
        }
    }
    Ok(())
}
