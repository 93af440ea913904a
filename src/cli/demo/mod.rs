//! `jcas demo`: what JCAS is for, on real input.
//!
//! ```text
//!   three exports --use cases--> 900 users with their companies' hashes
//!   12 of them --HTTP, old password--> logged in, hashed anew
//!   one of them --HTTP--> new password: the old one and its hash no longer count
//!   two regions: what one recorded the other has, also after they were cut off from each other
//!   then they serve, and it prints calls to copy
//! ```
//!
//! Both regions run in this process, on a link within it. Each has a data folder of its own, kept
//! between runs: a second run finds everybody there.

mod calls;
mod load;
mod logins;
mod people;
mod regions;
mod split;

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;

use crate::app::listeners::Listeners;
use crate::config::Config;
use crate::config::logging::LogLevel;

use self::regions::Regions;
use super::{logging, out, serve};

/// Show what JCAS does, on sample customers of three companies.
#[derive(Debug, Args)]
#[command(after_help = "Its data folder is ./jcas-demo; JCAS__DEMO__DATA_DIR names another.
Region eu listens where `jcas serve` would, region us on free ports beside it.

Examples:
  jcas demo
  JCAS__HTTP__LISTEN=127.0.0.1:9000 jcas demo --once")]
pub struct DemoArgs {
    /// End after the calls are printed instead of serving.
    #[arg(long)]
    once: bool,
}

/// Loads, shows, serves.
pub fn run(config: &Config, args: &DemoArgs) -> anyhow::Result<()> {
    let mut config = config.clone();
    config.node.data_dir.clone_from(&config.demo.data_dir);
    "demo".clone_into(&mut config.node.deployment);
    // The demo calls itself and prints calls to copy: over plain HTTP, and so on this machine only.
    config.http.tls.cert_file.clear();
    config.http.tls.key_file.clear();
    // Every run registers the same customers at once; the next finds all of them there already.
    config.limits.claims_burst = config.limits.claims_burst.max(100_000);
    // The two regions have no other nodes, and tell each other often where they stand, so that
    // nobody waits long before the screen.
    config.replication.peers.clear();
    config.replication.brokers.clear();
    config.replication.vector_ms = 100;
    config.validate()?;
    // What a node tells its operator would stand between the demo's own lines.
    config.logging.level = config.logging.level.min(LogLevel::Warn);
    logging::start(&config.logging);
    let settings = regions::settings(&config)?;
    let metrics = serve::metrics(&config.metrics)?;
    // Before anything is made: a port that is taken is said at once.
    let listeners = [Listeners::bind(&settings[0])?, Listeners::bind(&settings[1])?];
    let system = actix::System::new();
    system.block_on(async move {
        let folder = crate::app::data_folder(&config);
        let regions = Regions::start(settings, listeners, metrics).await;
        let regions = regions.with_context(|| advice(&folder))?;
        let shown = show(&regions, &folder).await.with_context(|| advice(&folder));
        if shown.is_err() || args.once {
            let stopped = regions.stop().await;
            shown?;
            return stopped;
        }
        out::line("serving until Ctrl-C")?;
        regions.run_until_stopped().await
    })
}

fn advice(folder: &Path) -> String {
    format!(
        "the demo cannot go on with its data folder {}; where its disk is full make room, or name \
         a folder elsewhere with JCAS__DEMO__DATA_DIR; to begin anew delete it",
        folder.display()
    )
}

async fn show(regions: &Regions, folder: &Path) -> anyhow::Result<()> {
    let node = &regions.eu;
    let samples = people::samples()?;
    let known = people::known()?;
    let schemes: logins::Schemes = samples.iter().flat_map(logins::schemes_of).collect();
    out::line(&format!("JCAS demo, data in {}\n", folder.display()))?;
    let mut companies = Vec::new();
    for sample in &samples {
        companies.push(load::company(&node.accounts, sample).await?);
        out::line(&format!(
            "  {:<8} {} customers in {}: {}",
            sample.id,
            sample.people.len(),
            sample.countries.join(" and "),
            sample.export
        ))?;
    }
    let started = Instant::now();
    let loaded = load::people(&node.accounts, samples, &companies).await?;
    out::line(&summary(&loaded, started.elapsed().as_secs_f64()))?;
    let url = node.company_url();
    let logged_in = logins::everybody(&url, &companies, &known, &schemes).await?;
    logins::prove_that_the_old_hash_is_gone(&url, &companies, &known).await?;
    split::show(regions, &companies, &known, &logged_in).await?;
    out::line(&calls::to_copy(regions, &companies, &known, &logged_in)?)
}

fn summary(loaded: &load::Loaded, seconds: f64) -> String {
    let done = match (loaded.registered, loaded.standing) {
        (0, standing) => format!("all {standing} are here from an earlier run, which goes on"),
        (new, 0) => format!("registered {new} customers in {seconds:.1} s"),
        (new, standing) => {
            format!("registered {new} customers in {seconds:.1} s; {standing} were here already")
        }
    };
    format!(
        "\n{done}; {} are closed accounts\n\
         {} e-mail addresses are known to more than one company; none is verified, so each is\n\
         a user of its own at each: nobody gets into an account by naming its address\n",
        loaded.closed, loaded.shared_addresses
    )
}
