//! Logging the sample people in over HTTP, as their companies would, and showing that this retires
//! their old hashes.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::load::Company;
use super::people::{Known, Sample, plain};
use crate::cli::client::{self, Answered, Outgoing};
use crate::cli::out;

/// The password that the proof sets for a moment.
pub(super) const OTHER_PASSWORD: &str = "another-password-for-a-moment";

/// How a person's hash was made, by company and address.
pub(super) type Schemes = BTreeMap<(String, String), String>;

/// Schemes of one company's customers.
pub(super) fn schemes_of(sample: &Sample) -> Vec<((String, String), String)> {
    let with_email = sample.people.iter().filter_map(|person| {
        let key = (sample.id.to_owned(), plain(person.email.as_deref()?));
        Some((key, person.scheme.clone()))
    });
    with_email.collect()
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    took_ms: u128,
}

/// Calls as a company does.
pub(super) async fn call(
    url: &str,
    company: &Company,
    (method, path): (&'static str, &str),
    body: Option<Value>,
) -> anyhow::Result<Answer> {
    let (url, key) = (format!("{url}{path}"), company.key.text.clone());
    let started = Instant::now();
    let called = tokio::task::spawn_blocking(move || {
        let body = body.map(|body| body.to_string());
        let headers = [("X-Api-Key", key.as_str())];
        client::send(
            &client::agent(None)?,
            &Outgoing { method, url: &url, headers: &headers, body: body.as_deref() },
        )
    });
    let Answered { status, body: text, .. } = called.await??;
    let took_ms = started.elapsed().as_millis();
    let body = serde_json::from_str(&text).context("the answer is not JSON")?;
    Ok(Answer { status, body, took_ms })
}

/// Logs somebody in.
pub(super) async fn login(
    url: &str,
    company: &Company,
    known: &Known,
    password: &str,
) -> anyhow::Result<Answer> {
    let body = json!({ "country": known.country, "email": known.email, "password": password });
    call(url, company, ("POST", "/v1/login"), Some(body)).await
}

/// Sets a password, from the current one to a new one.
pub(super) async fn set_password(
    url: &str,
    company: &Company,
    user: &str,
    (current, new): (&str, &str),
) -> anyhow::Result<()> {
    let path = format!("/v1/users/{user}/password");
    let body = json!({ "password": new, "current_password": current });
    let set = call(url, company, ("PUT", &path), Some(body)).await?;
    ensure!(set.status == 200, "a password could not be set: {}", set.body);
    Ok(())
}

/// A person's company.
pub(super) fn of<'a>(companies: &'a [Company], known: &Known) -> anyhow::Result<&'a Company> {
    companies.iter().find(|company| company.id == known.company).context("an unknown company")
}

fn user_id(answer: &Answer) -> anyhow::Result<String> {
    let id = answer.body.get("user_id").and_then(Value::as_str);
    Ok(id.context("the answer names no user")?.to_owned())
}

fn upgraded(answer: &Answer) -> bool {
    answer.body.get("upgraded").and_then(Value::as_bool).unwrap_or_default()
}

/// Logs everybody in with the password their company knew, and shows how that went. Returns their
/// user ids.
pub(super) async fn everybody(
    url: &str,
    companies: &[Company],
    people: &[Known],
    schemes: &Schemes,
) -> anyhow::Result<Vec<String>> {
    out::line(&format!("{} people log in with their old passwords, over HTTP:\n", people.len()))?;
    out::line(&format!(
        "  {:<34} {:<8} {:<26} {:>8}  upgraded",
        "person", "company", "their company's hash", "login"
    ))?;
    let mut users = Vec::new();
    for known in people {
        let company = of(companies, known)?;
        let answer = login_or_mend(url, company, known).await?;
        let key = (known.company.clone(), plain(&known.email));
        out::line(&format!(
            "  {:<34} {:<8} {:<26} {:>5} ms  {}",
            known.email,
            known.company,
            schemes.get(&key).map_or("unknown", String::as_str),
            answer.took_ms,
            if upgraded(&answer) { "yes" } else { "no, an earlier login did" },
        ))?;
        users.push(user_id(&answer)?);
    }
    Ok(users)
}

/// Logs in; a run that was cut off in the middle of the proof left the other password behind.
async fn login_or_mend(url: &str, company: &Company, known: &Known) -> anyhow::Result<Answer> {
    let mut answer = login(url, company, known, &known.password).await?;
    if answer.status == 401 {
        let other = login(url, company, known, OTHER_PASSWORD).await?;
        if other.status == 200 {
            let passwords = (OTHER_PASSWORD, known.password.as_str());
            set_password(url, company, &user_id(&other)?, passwords).await?;
            answer = login(url, company, known, &known.password).await?;
        }
    }
    ensure!(answer.status == 200, "{} could not log in: {}", known.email, answer.body);
    Ok(answer)
}

/// Shows on one person that the secret counts and the imported hash does not.
pub(super) async fn prove_that_the_old_hash_is_gone(
    url: &str,
    companies: &[Company],
    people: &[Known],
) -> anyhow::Result<()> {
    let known = people.first().context("no sample person")?;
    let (company, old) = (of(companies, known)?, known.password.as_str());
    out::line(&format!("\nWhat of the old hash of {}?\n", known.email))?;
    let again = login(url, company, known, old).await?;
    ensure!(again.status == 200 && !upgraded(&again), "the secret does not count: {}", again.body);
    out::line("  same password again: in, against the new hash; nothing is left to upgrade")?;
    let user = user_id(&again)?;
    set_password(url, company, &user, (old, OTHER_PASSWORD)).await?;
    let refused = login(url, company, known, old).await?;
    ensure!(refused.status == 401, "the old hash still counts: {}", refused.body);
    out::line("  after a change of password, the old one: refused, though its hash was imported")?;
    let changed = login(url, company, known, OTHER_PASSWORD).await?;
    ensure!(changed.status == 200, "the new password does not count: {}", changed.body);
    out::line("  the new one: in")?;
    set_password(url, company, &user, (OTHER_PASSWORD, old)).await?;
    out::line("  (and changed back, so that the calls below work)")
}
