//! Ctrl-C during a command that makes files: what is half-made is taken away.

use tokio::signal::unix::{SignalKind, signal};

use crate::files::unfinished;

/// From now on a signal to end takes away what is in the making before the process ends.
pub(super) fn clean_up_when_told_to_end() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _within = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => 128 + SignalKind::terminate().as_raw_value(),
                _ = interrupt.recv() => 128 + SignalKind::interrupt().as_raw_value(),
            }
        });
        unfinished::remove_all();
        std::process::exit(code);
    })?;
    Ok(())
}
