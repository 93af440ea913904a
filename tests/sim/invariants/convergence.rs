//! All nodes hold the same events, and their states are what those fold to in any order.

use super::{End, state};
use crate::ledger::{Checked, ensure};

pub(crate) fn check(end: &End<'_>) -> Checked {
    let expected = end.folded.hash();
    for (life, log) in end.lives.iter().zip(&end.logs) {
        let (here, all) = (log.len(), end.union.len());
        ensure!(here == all, "{} holds {here} of {all} events", life.own);
        let hash = state::state_hash(life)?;
        ensure!(hash == expected, "{}: the state hash is not that of the fold", life.own);
        let registry = life.view.borrow().state.clone();
        let reader = life.checkpoints.log.reader();
        let same = state::check_state(&life.checkpoints.store, &registry, &reader, &end.folded);
        same.map_err(|error| format!("{}: {error}", life.own))?;
    }
    Ok(())
}
