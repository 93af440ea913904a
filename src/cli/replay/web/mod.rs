//! `jcas replay --web`: the history as a page, for a browser on this machine.
//!
//! ```text
//!   fold once -> chart, state, where each user's events lie
//!   browser --GET--> the page, summary.json, users.json, user/ID.json (read where it lies)
//! ```

mod data;
mod server;

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};

use crate::cli::out;
use crate::cli::progress::Meter;
use crate::replay::chart::Chart;
use crate::replay::fold::fold;
use crate::replay::history::History;

use self::data::Shown;
use self::server::Server;

/// Folds, then serves until the process is ended.
pub(super) fn run(history: History, listen: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        listen.ip().is_loopback(),
        "{listen} can be reached from elsewhere; the page is for this machine alone"
    );
    let mut meter = Meter::events("replaying");
    let folded = fold(&history, Chart::default, |events| meter.set(events));
    meter.finish();
    let shown = Shown::new(history, folded?);
    let server = Server::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    out::line(&format!("http://{}/", server.address()))?;
    out::note("Ctrl-C ends it");
    server.serve(&|path| shown.answer(path));
    Ok(())
}
