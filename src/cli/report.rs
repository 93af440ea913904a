//! `jcas company report`: asks a running node for the pages of the report and adds them up.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::accounts::report::{Page, Report, Tally};

use super::operator::Operator;
use super::progress::Meter;
use super::{out, table};

/// Users a call looks at: a fraction of a second.
const USERS_A_CALL: usize = 500;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Its id.
    id: String,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints how far a company's customers have moved over.
pub(super) fn run(operator: &Operator, args: &ReportArgs) -> anyhow::Result<()> {
    let (report, users) = collect(operator, &args.id)?;
    if args.json {
        let said = json!({ "company": args.id, "users_looked_at": users, "report": report });
        return out::line(&serde_json::to_string_pretty(&said)?);
    }
    print(&report)
}

fn collect(operator: &Operator, company: &str) -> anyhow::Result<(Report, u64)> {
    let (mut report, mut users, mut after) = (Report::default(), 0, String::new());
    let mut meter = Meter::entries("looking at users");
    loop {
        let path = format!("companies/{company}/report?limit={USERS_A_CALL}{after}");
        let answer = operator.call("GET", &path, None)?;
        let page: Page = serde_json::from_value(answer).context("the answer is no report")?;
        report.add(page.report);
        users += page.users;
        meter.set(users);
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    meter.finish();
    Ok((report, users))
}

fn print(report: &Report) -> anyhow::Result<()> {
    let row = |name: &str, tally: &Tally| {
        let Tally { customers, with_secret, never_came, without_password } = tally;
        let counts = [customers, with_secret, never_came, without_password];
        let counts = counts.into_iter().map(u64::to_string);
        std::iter::once(name.to_owned()).chain(counts).collect::<Vec<_>>()
    };
    let countries = report.countries.iter();
    let mut rows: Vec<_> = countries.map(|(it, sum)| row(it.as_str(), &sum.tally)).collect();
    if report.without_country.customers > 0 {
        rows.push(row("none", &report.without_country));
    }
    rows.push(row("all", &report.all));
    table::print(&["country", "customers", "with secret", "never came", "no password"], &rows)?;
    let mut rows = Vec::new();
    for (country, sum) in &report.countries {
        for (scheme, counted) in &sum.schemes {
            let counts = [counted.hashes, counted.never_came].map(|count| count.to_string());
            let [hashes, never_came] = counts;
            rows.push(vec![country.to_string(), scheme.clone(), hashes, never_came]);
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    out::line("")?;
    table::print(&["country", "scheme", "hashes", "never came"], &rows)
}
