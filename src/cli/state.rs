//! `jcas state ..`: the state of a node that does not run, against its log.

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::app::upkeep::{self, Doing, StateVerdict};
use crate::config::Config;

use super::out::{self, Lines};
use super::progress::Meter;

/// Most differences that are listed.
const LISTED_MAX: usize = 100;

/// The state.
#[derive(Debug, Args)]
pub struct StateArgs {
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// Fold the log anew beside the state and list where the two differ.
    #[command(after_help = "The node must not run. The state is brought up to the log first, as a
start would do. Needs as much room again as the state takes. Ends with 1 when something differs.

Example: jcas state verify")]
    Verify,
    /// Fold the log into a new state and put it in the place of the old one.
    #[command(
        after_help = "The node must not run. A crash on the way leaves the old state. It also
gives back the room that old values take.

Example: jcas state rebuild"
    )]
    Rebuild,
}

/// `jcas state ..`
pub fn run(config: &Config, args: &StateArgs) -> anyhow::Result<()> {
    match args.command {
        StateCommand::Verify => verify(config),
        StateCommand::Rebuild => rebuild(config),
    }
}

fn verify(config: &Config) -> anyhow::Result<()> {
    let mut meters = Meters::default();
    let verdict = upkeep::verify_state(config, LISTED_MAX, &mut |doing, done| {
        meters.set(doing, done);
    });
    meters.finish();
    let comparison = match verdict? {
        StateVerdict::Unusable(why) => {
            bail!(
                "the state does not count: {why}; the next start, or jcas state rebuild, folds \
                 it anew"
            )
        }
        StateVerdict::Compared(comparison) => comparison,
    };
    let mut lines = Lines::default();
    for difference in &comparison.differences {
        lines.line(&difference.to_string())?;
    }
    let (compared, different) = (comparison.compared, comparison.different);
    if different == 0 {
        lines.line(&format!("{compared} entries compared, all as the log says"))?;
        return lines.finish();
    }
    let listed = u64::try_from(comparison.differences.len()).unwrap_or(u64::MAX);
    if different > listed {
        lines.line(&format!("and {} more", different - listed))?;
    }
    lines.finish()?;
    bail!(
        "{different} of {compared} entries differ from what the log folds to; jcas state rebuild \
         mends it"
    )
}

fn rebuild(config: &Config) -> anyhow::Result<()> {
    let mut meters = Meters::default();
    let folded = upkeep::rebuild_state(config, &mut |doing, done| meters.set(doing, done));
    meters.finish();
    out::line(&format!("folded {} events into a new state", folded?.records))
}

/// One bar after the other.
#[derive(Default)]
struct Meters(Option<(Doing, Meter)>);

impl Meters {
    fn set(&mut self, doing: Doing, done: u64) {
        let same = self.0.as_ref().is_some_and(|(before, _)| *before == doing);
        if !same {
            std::mem::take(self).finish();
        }
        let begin = || {
            let meter = match doing {
                Doing::Folding => Meter::events("folding"),
                Doing::Comparing => Meter::entries("comparing"),
            };
            (doing, meter)
        };
        self.0.get_or_insert_with(begin).1.set(done);
    }

    fn finish(self) {
        if let Some((_, meter)) = self.0 {
            meter.finish();
        }
    }
}
