//! Reading over HTTP: finding users by e-mail address and getting them whole, beside bare handlers
//! of the framework with the same client.

use std::sync::Arc;
use std::time::Duration;

use crate::Options;
use crate::bare::Bare;
use crate::drive::{Calls, Drive, Driven, drive};
use crate::http::request;
use crate::ldap::{Done, Slapd};
use crate::node::{Made, email, with_users};
use crate::report::{Report, median};
use crate::sign::Signer;

/// What is measured, in the order of the table.
const ROWS: [&str; 5] = [
    "framework: bare POST with JSON",
    "jcas: POST /v1/users/lookup",
    "jcas: POST /v1/users/lookup, signed",
    "framework: bare GET",
    "jcas: GET /v1/users/{id}, all opened",
];

/// Measures and reports.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let users = options.users.unwrap_or(10_000);
    let (node, made) = with_users(options, users)?;
    let bare = Bare::start()?;
    let signer = Arc::new(Signer::make(&node)?);
    let mut found: [Vec<Driven>; 5] = Default::default();
    for round in 0..=options.rounds {
        let each = [
            read(options, &bare.address, lookups(&made))?,
            read(options, &node.address, lookups(&made))?,
            read(options, &node.address, signed_lookups(&made, Arc::clone(&signer)))?,
            read(options, &bare.address, gets(&made))?,
            read(options, &node.address, gets(&made))?,
        ];
        // The first round opens every user's key; it does not count.
        if round > 0 {
            found.iter_mut().zip(each).for_each(|(all, one)| all.push(one));
        }
    }
    let mut report = Report::new("lookup", &["a second", "p50 ms", "p99 ms"]);
    for (name, driven) in ROWS.into_iter().zip(&found) {
        let of = |value: &dyn Fn(&Driven) -> f64| {
            Some(median(&driven.iter().map(value).collect::<Vec<_>>()))
        };
        report.row(name, &[of(&Driven::rate), of(&|it| it.ms(0.5)), of(&|it| it.ms(0.99))]);
    }
    slapd(options, users, &mut report)?;
    report.note(format!("{} clients, {users} users in turn; medians of rounds", options.clients));
    report.finish(&options.folder)?;
    node.stop().map(drop)
}

/// The same question to slapd: who has this address?
fn slapd(options: &Options, users: usize, report: &mut Report) -> anyhow::Result<()> {
    if !Slapd::is_there() {
        report.note("slapd is not installed: no comparison (apt-get install slapd)".to_owned());
        return Ok(());
    }
    let people: Vec<_> = (0..users as u64).map(|number| (email(number), "none".into())).collect();
    let slapd = Slapd::start(&options.folder.join("slapd"), &people)?;
    let lasting = Duration::from_secs(options.seconds);
    let rounds = (0..options.rounds).map(|_| slapd.drive(options.clients, lasting, &people, None));
    let rounds = rounds.collect::<Result<Vec<_>, _>>()?;
    let of =
        |value: &dyn Fn(&Done) -> f64| Some(median(&rounds.iter().map(value).collect::<Vec<_>>()));
    report.row(
        "slapd: search by mail",
        &[of(&|it| it.rate), of(&|it| it.ms(0.5)), of(&|it| it.ms(0.99))],
    );
    Ok(())
}

fn read(options: &Options, address: &str, calls: Calls) -> anyhow::Result<Driven> {
    let lasting = Duration::from_secs(options.seconds);
    let (clients, limit) = (options.clients, u64::MAX);
    drive(
        &Drive { address, clients, lasting, rate: None, status: 200, refusal: None, limit },
        calls,
    )
}

fn lookups(made: &Made) -> Calls {
    let (key, users) = (made.key.clone(), made.users.len() as u64);
    Calls::new(move |number| {
        let body = format!(r#"{{"email":"{}"}}"#, email(number % users));
        request("POST", "/v1/users/lookup", ("X-Api-Key", &key), Some(&body))
    })
}

/// The client signs while it measures: what that takes, the node does not have.
fn signed_lookups(made: &Made, signer: Arc<Signer>) -> Calls {
    let users = made.users.len() as u64;
    Calls::new(move |number| {
        let body = format!(r#"{{"email":"{}"}}"#, email(number % users));
        signer.request("POST", "/v1/users/lookup", &body)
    })
}

fn gets(made: &Made) -> Calls {
    let (key, users) = (made.key.clone(), made.users.clone());
    Calls::new(move |number| {
        let at = usize::try_from(number).unwrap_or_default() % users.len();
        let user = users.get(at).map(String::as_str).unwrap_or_default();
        request("GET", &format!("/v1/users/{user}"), ("X-Api-Key", &key), None)
    })
}
