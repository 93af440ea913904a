//! Two regions before the reader's eyes: what one recorded the other has; cut off from each other
//! both go on answering; healed, they agree.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::load::Company;
use super::logins::{self, OTHER_PASSWORD};
use super::people::Known;
use super::regions::Regions;
use crate::app::Node;
use crate::cli::client::{self, Answered, Outgoing};
use crate::cli::out;
use crate::deployment::token::operator_token;

/// Longest wait for one region to have what the other has.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked at: about as long as a look takes.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// Two nicknames: whichever the person has not.
const NICKNAMES: [&str; 2] = ["Ade", "Bisi"];

/// Who and what it is about.
struct Scene<'a> {
    /// The regions' names and where companies call them.
    at: [(&'static str, String); 2],
    company: &'a Company,
    known: &'a Known,
    user: &'a str,
    nickname: &'static str,
    /// Whose company was cut off from the first region, and registers somebody.
    other: &'a Company,
    newcomer: String,
}

/// What one region answers about it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    new_password: &'static str,
    old_password: &'static str,
    nickname: String,
    newcomer: &'static str,
}

/// Shows it.
pub(super) async fn show(
    regions: &Regions,
    companies: &[Company],
    people: &[Known],
    users: &[String],
) -> anyhow::Result<()> {
    out::line("\nTwo regions, eu and us, in this process; all of the above went to eu:\n")?;
    let (hash, took) = alike(regions).await?;
    out::line(&format!("  us has it all, {took:.1} ms later: state hash {hash} in both"))?;
    let scene = Scene::new(regions, companies, people, users).await?;
    let took = scene.change_and_read().await?;
    out::line(&format!("  a change of profile that eu answered is read in us {took:.1} ms later"))?;

    regions.cut();
    let away = scene.while_cut().await;
    regions.heal();
    away?;

    let (hash, took) = alike(regions).await?;
    out::line(&format!(
        "\nThe link is healed. {took:.0} ms later both have the same state: {hash}\n"
    ))?;
    let (eu, us) = scene.look_at_both().await?;
    ensure!(eu == us, "the regions answer differently: {eu:?} and {us:?}");
    ensure!((eu.new_password, eu.old_password) == ("in", "refused"), "{eu:?}");
    ensure!((eu.nickname.as_str(), eu.newcomer) == (scene.nickname, "found"), "{eu:?}");
    // Changed in the region that has only heard of the change.
    let [_, (_, there)] = &scene.at;
    let back = (OTHER_PASSWORD, scene.known.password.as_str());
    logins::set_password(there, scene.company, scene.user, back).await?;
    alike(regions).await?;
    out::line("  (and the password changed back, in us, so that the calls below work)")
}

impl<'a> Scene<'a> {
    async fn new(
        regions: &Regions,
        companies: &'a [Company],
        people: &'a [Known],
        users: &'a [String],
    ) -> anyhow::Result<Self> {
        let at = [("eu", regions.eu.company_url()), ("us", regions.us.company_url())];
        // Another person than the one whose old hash was looked at.
        let (known, user) = people.iter().zip(users).nth(1).context("no second sample person")?;
        let company = logins::of(companies, known)?;
        let other = companies.iter().find(|other| other.id != company.id);
        let other = other.context("no second company")?;
        let newcomer = format!("zuri.{}@example.com", other.key.id);
        let mut scene = Self { at, company, known, user, nickname: "", other, newcomer };
        let has = scene.nickname(&scene.at[0].1).await?;
        let [one, another] = NICKNAMES;
        scene.nickname = if has == one { another } else { one };
        Ok(scene)
    }

    fn path(&self) -> String {
        format!("/v1/users/{}", self.user)
    }

    async fn nickname(&self, url: &str) -> anyhow::Result<String> {
        let read = logins::call(url, self.company, ("GET", &self.path()), None).await?;
        ensure!(read.status == 200, "a user cannot be read: {}", read.body);
        let nickname = read.body.pointer("/profile/nickname").and_then(Value::as_str);
        Ok(nickname.unwrap_or("none").to_owned())
    }

    async fn set_nickname(&self, url: &str, nickname: &str) -> anyhow::Result<()> {
        let body = json!({ "profile": { "nickname": nickname } });
        let set = logins::call(url, self.company, ("PATCH", &self.path()), Some(body)).await?;
        ensure!(set.status == 200, "a profile could not be changed: {}", set.body);
        Ok(())
    }

    /// How long after the answer of one region the other reads a change, in milliseconds.
    async fn change_and_read(&self) -> anyhow::Result<f64> {
        let [(_, here), (_, there)] = &self.at;
        let [one, another] = NICKNAMES;
        let nickname = if self.nickname == one { another } else { one };
        // Something it is not yet, so that the look at the other region can tell.
        self.set_nickname(here, self.nickname).await?;
        self.set_nickname(here, nickname).await?;
        let answered = Instant::now();
        while self.nickname(there).await? != nickname {
            wait(answered).await?;
        }
        Ok(milliseconds(answered))
    }

    async fn while_cut(&self) -> anyhow::Result<()> {
        let [(_, here), (_, there)] = &self.at;
        out::line("\nThe link is cut.\n")?;
        let (email, old) = (&self.known.email, self.known.password.as_str());
        logins::set_password(here, self.company, self.user, (old, OTHER_PASSWORD)).await?;
        out::line(&format!("  in eu, {email} has a new password"))?;
        self.set_nickname(there, self.nickname).await?;
        out::line(&format!("  in us, {email} is called {} from now on", self.nickname))?;
        let body = json!({
            "country": self.other.country(),
            "email": self.newcomer,
            "password": "correct horse battery",
        });
        let registered = logins::call(there, self.other, ("POST", "/v1/users"), Some(body)).await?;
        ensure!(registered.status == 201, "nobody could register: {}", registered.body);
        out::line(&format!("  in us, {} registers {}", self.other.id, self.newcomer))?;
        out::line("\nEach goes on answering with what it knows:\n")?;
        let (eu, us) = self.look_at_both().await?;
        let expected = [("in", "refused", "unknown"), ("refused", "in", "found")];
        let answered = [&eu, &us].map(|it| (it.new_password, it.old_password, it.newcomer));
        ensure!(answered == expected, "the link was not cut: {eu:?} and {us:?}");
        Ok(())
    }

    /// Asks both regions, and shows what they answer.
    async fn look_at_both(&self) -> anyhow::Result<(Seen, Seen)> {
        let [(here, first), (there, second)] = &self.at;
        let (eu, us) = (self.look(first).await?, self.look(second).await?);
        let row = |what: &str, eu: &str, us: &str| {
            out::line(format!("  {what:<20}  {eu:<9} {us}").trim_end())
        };
        row("", here, there)?;
        row("the new password", eu.new_password, us.new_password)?;
        row("the old password", eu.old_password, us.old_password)?;
        row("the nickname", &eu.nickname, &us.nickname)?;
        row("the newcomer", eu.newcomer, us.newcomer)?;
        Ok((eu, us))
    }

    async fn look(&self, url: &str) -> anyhow::Result<Seen> {
        let body = json!({ "email": self.newcomer });
        let found = logins::call(url, self.other, ("POST", "/v1/users/lookup"), Some(body)).await?;
        Ok(Seen {
            new_password: self.login(url, OTHER_PASSWORD).await?,
            old_password: self.login(url, &self.known.password).await?,
            nickname: self.nickname(url).await?,
            newcomer: match found.status {
                200 => "found",
                404 => "unknown",
                _ => anyhow::bail!("nobody could be looked for: {}", found.body),
            },
        })
    }

    async fn login(&self, url: &str, password: &str) -> anyhow::Result<&'static str> {
        let answer = logins::login(url, self.company, self.known, password).await?;
        match answer.status {
            200 => Ok("in"),
            401 => Ok("refused"),
            _ => anyhow::bail!("a login could not be judged: {}", answer.body),
        }
    }
}

/// Waits until both regions have the same state. Returns its hash, and after how many milliseconds
/// that was seen.
async fn alike(regions: &Regions) -> anyhow::Result<(String, f64)> {
    let started = Instant::now();
    loop {
        let (eu, us) = (state_hash(&regions.eu).await?, state_hash(&regions.us).await?);
        if eu == us {
            return Ok((eu, milliseconds(started)));
        }
        wait(started).await?;
    }
}

async fn wait(since: Instant) -> anyhow::Result<()> {
    ensure!(since.elapsed() < PATIENCE, "one region does not get what the other has");
    tokio::time::sleep(LOOK_EVERY).await;
    Ok(())
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// A region's state hash, as its operator is told.
async fn state_hash(node: &Node) -> anyhow::Result<String> {
    let token = operator_token(node.deployment.folder())?;
    let url = format!("http://{}/operator/state", node.operator_address);
    let asked = tokio::task::spawn_blocking(move || {
        let bearer = format!("Bearer {}", token.expose());
        let headers = [("Authorization", bearer.as_str())];
        let call = Outgoing { method: "GET", url: &url, headers: &headers, body: None };
        client::send(&client::agent(None)?, &call)
    });
    let Answered { status, body, .. } = asked.await??;
    let answer: Value = serde_json::from_str(&body).context("the answer is not JSON")?;
    let hash = answer.get("state_hash").and_then(Value::as_str);
    let hash = hash.with_context(|| format!("no state hash: {status} {body}"))?;
    Ok(hash.chars().take(16).collect())
}
