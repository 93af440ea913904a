//! Fairness under overload: how one company's logins and look-ups fare while another sends ten
//! times the logins that the node can do.
//!
//! Quiet and flooded rounds take turns, so that what else the machine does meets both.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use crate::Options;
use crate::drive::{Calls, Drive, Driven, drive};
use crate::http::request;
use crate::node::Node;
use crate::report::Report;

/// What the flooding company sends, beside what the node can do.
const FLOOD: f64 = 10.0;

/// What the other company sends, beside what the node can do.
const SHARE: f64 = 0.05;

/// Look-ups a second of the other company.
const LOOKUPS: f64 = 50.0;

/// Connections of the flooding company: more than may wait, so that none of its calls waits for one.
const FLOODERS: usize = 600;

/// Connections that keep the node busy without having to wait long: twice as many as lanes.
const SATURATING: usize = 24;

/// Connections of the other company: few, since one that sends nothing is closed.
const OTHERS: usize = 8;

/// Customers of each company, in turn: so many that no account has many attempts under way at once.
const PEOPLE: u64 = 256;

/// Everybody's password.
const PASSWORD: &str = "one two three";

/// A company.
struct Company {
    id: &'static str,
    key: String,
}

/// What the other company saw in a round.
struct Seen {
    logins: Driven,
    lookups: Driven,
}

impl Seen {
    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.logins.add(&other.logins)?;
        self.lookups.add(&other.lookups)
    }
}

/// Measures and reports.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let data = options.folder.join("overload");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir_all(&options.folder)?;
    let node = Node::start(&options.program, &data)?;
    let [flooding, other] = ["flooding", "other"].map(|id| company(&node, id));
    let (flooding, other) = (flooding?, other?);
    let lasting = Duration::from_secs(options.seconds);
    let closed = Drive { lasting, ..drive_of(&node.address, SATURATING) };
    let capacity = drive(&closed, logins(&flooding))?;
    let rate = capacity.rate();
    let flood = Drive {
        lasting,
        rate: Some(rate * FLOOD),
        refusal: Some(503),
        ..drive_of(&node.address, FLOODERS)
    };
    let (mut quiet, mut flooded): (Option<Seen>, Option<Seen>) = (None, None);
    let mut refused: Option<Driven> = None;
    for _ in 0..options.rounds {
        merge(&mut quiet, look(&node.address, &other, rate, lasting)?)?;
        let (seen, driven) = std::thread::scope(|scope| {
            let flood = scope.spawn(|| drive(&flood, logins(&flooding)));
            let seen = look(&node.address, &other, rate, lasting);
            (seen, flood.join())
        });
        merge(&mut flooded, seen?)?;
        let driven = driven.map_err(|_| anyhow::anyhow!("the flood broke off"))??;
        match &mut refused {
            Some(all) => all.add(&driven)?,
            None => refused = Some(driven),
        }
    }
    let quiet = quiet.context("no rounds")?;
    let flooded = flooded.context("no rounds")?;
    let refused = refused.context("no rounds")?;
    report(options, (&capacity, rate), (&quiet, &flooded), &refused)?;
    node.stop().map(drop)
}

fn merge(all: &mut Option<Seen>, seen: Seen) -> anyhow::Result<()> {
    if let Some(all) = all {
        return all.add(&seen);
    }
    *all = Some(seen);
    Ok(())
}

fn company(node: &Node, id: &'static str) -> anyhow::Result<Company> {
    let company = Company { id, key: node.plain_company(id)? };
    let key = company.key.clone();
    let calls = Calls::new(move |number| {
        let email = email(id, number);
        let body = json!({ "country": "NG", "email": email, "password": PASSWORD }).to_string();
        request("POST", "/v1/users", ("X-Api-Key", &key), Some(&body))
    });
    let all = Drive { status: 201, limit: PEOPLE, ..drive_of(&node.address, SATURATING) };
    drive(&all, calls)?;
    Ok(company)
}

fn email(id: &str, number: u64) -> String {
    format!("{id}-{}@bench.example.com", number % PEOPLE)
}

fn drive_of(address: &str, clients: usize) -> Drive<'_> {
    let lasting = Duration::from_hours(1);
    Drive { address, clients, lasting, rate: None, status: 200, refusal: None, limit: u64::MAX }
}

fn logins(company: &Company) -> Calls {
    let (id, key) = (company.id, company.key.clone());
    Calls::new(move |number| {
        let email = email(id, number);
        let body = json!({ "country": "NG", "email": email, "password": PASSWORD }).to_string();
        request("POST", "/v1/login", ("X-Api-Key", &key), Some(&body))
    })
}

fn lookups(company: &Company) -> Calls {
    let (id, key) = (company.id, company.key.clone());
    Calls::new(move |number| {
        let body = json!({ "email": email(id, number) }).to_string();
        request("POST", "/v1/users/lookup", ("X-Api-Key", &key), Some(&body))
    })
}

/// Logins and look-ups of a company, in open loops.
fn look(address: &str, company: &Company, rate: f64, lasting: Duration) -> anyhow::Result<Seen> {
    let open = |rate, clients| Drive { lasting, rate: Some(rate), ..drive_of(address, clients) };
    let (logging_in, looking) = (open(rate * SHARE, OTHERS), open(LOOKUPS, OTHERS));
    std::thread::scope(|scope| {
        let lookups = scope.spawn(|| drive(&looking, lookups(company)));
        let logins = drive(&logging_in, logins(company))?;
        let lookups = lookups.join().map_err(|_| anyhow::anyhow!("the look-ups broke off"))??;
        Ok(Seen { logins, lookups })
    })
}

fn report(
    options: &Options,
    (capacity, rate): (&Driven, f64),
    (quiet, flooded): (&Seen, &Seen),
    flood: &Driven,
) -> anyhow::Result<()> {
    let mut report = Report::new("overload", &["a second", "p50 ms", "p99 ms"]);
    let row = |driven: &Driven| [Some(driven.rate()), Some(driven.ms(0.5)), Some(driven.ms(0.99))];
    let all = format!("all it can: logins of one company, {SATURATING} clients");
    report.row(&all, &row(capacity));
    report.row("logins of the other company, quiet", &row(&quiet.logins));
    report.row("the same beside the flood", &row(&flooded.logins));
    report.row("its look-ups, quiet", &row(&quiet.lookups));
    report.row("the same beside the flood", &row(&flooded.lookups));
    report.row("the flood: logins that were done", &row(flood));
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let of_refused = |quantile| flood.refused.value_at_quantile(quantile) as f64 / 1000.0;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let refused = flood.refused.len() as f64 / flood.seconds;
    report.row(
        "the flood: logins refused with 503",
        &[Some(refused), Some(of_refused(0.5)), Some(of_refused(0.99))],
    );
    report.note(format!(
        "flood {:.0} a second, the other company {:.1} logins and {LOOKUPS} look-ups a second, from \
         when each was due; {} rounds of {} s each, {} logins of the other company",
        rate * FLOOD,
        rate * SHARE,
        options.rounds,
        options.seconds,
        flooded.logins.answered
    ));
    report.note(format!(
        "the other company's p99 beside the flood: {:.2} times its quiet one",
        flooded.logins.ms(0.99) / quiet.logins.ms(0.99)
    ));
    report.finish(&options.folder)
}
