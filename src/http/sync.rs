//! Bulk sync: a stream of rows in, a job, its verdicts.

use std::io::Write as _;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};

use crate::accounts::error::AccountError;
use crate::accounts::sync::{JobId, JobView, Receiving, Verdict, VerdictCursor};
use crate::events::ids::Country;
use crate::events::policy::Scope;

use super::api::Api;
use super::body::BodyLimits;
use super::call::{Company, Streamed};
use super::error::ApiError;
use super::users::country;

/// Compressed bytes that are opened at once: they become a thousand times as many at most.
const GZIP_BYTES: usize = 1024;

/// Entries of a page where the caller does not say, and at most.
const LIMITS: (usize, usize) = (100, 1000);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SyncQuery {
    country: String,
    dry_run: Option<String>,
}

/// Reads a query that is looked at after the caller's scope.
fn query<T: serde::de::DeserializeOwned>(request: &HttpRequest) -> Result<T, ApiError> {
    let read = web::Query::<T>::from_query(request.query_string());
    let detail = "a parameter is missing, unknown, there twice or not what is documented";
    let wrong = |_| AccountError::field("query", "invalid", detail);
    Ok(read.map_err(wrong)?.into_inner())
}

fn flag(text: Option<&str>) -> Result<bool, ApiError> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(AccountError::field("dry_run", "invalid", "true or false").into()),
    }
}

/// `POST /v1/sync`. What came is taken when its digest is right.
pub async fn post(
    api: web::Data<Api>,
    Streamed { caller, digest }: Streamed,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Sync)?;
    let asked: SyncQuery = query(&request)?;
    let country: Country = country(&asked.country)?;
    let dry_run = flag(asked.dry_run.as_deref())?;
    let gzip = check_media(&request)?;
    let limits = request.app_data::<BodyLimits>().copied().ok_or(ApiError::Internal)?;
    let receiving = api.accounts.receive_sync(&caller, country, dry_run).await?;
    let mut stream = Incoming { receiving, gzip: gzip.then(|| MultiGzDecoder::new(Vec::new())) };
    let sent = stream.take(payload, limits).await?;
    if digest.is_some_and(|digest| digest != sent) {
        return Err(ApiError::BodyDigestMismatch);
    }
    let job_id = stream.finish()?.finish().await?;
    Ok(HttpResponse::Accepted().json(json!({ "job_id": job_id })))
}

/// Whether the stream is compressed. What it must be declared as is looked at before it is read.
fn check_media(request: &HttpRequest) -> Result<bool, ApiError> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let declared = text(header::CONTENT_TYPE).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-ndjson") {
        return Err(ApiError::NotNdjson);
    }
    let mut codings = request.headers().get_all(header::CONTENT_ENCODING);
    match (codings.next().map(|coding| coding.as_bytes().to_ascii_lowercase()), codings.next()) {
        (None, None) => Ok(false),
        (Some(coding), None) if coding == b"identity" => Ok(false),
        (Some(coding), None) if coding == b"gzip" => Ok(true),
        _ => Err(ApiError::StreamEncoding),
    }
}

/// A stream on its way in.
struct Incoming {
    receiving: Receiving,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
}

impl Incoming {
    /// Takes the stream to its end. Comes back with the digest of what was sent.
    async fn take(
        &mut self,
        mut payload: web::Payload,
        limits: BodyLimits,
    ) -> Result<[u8; 32], ApiError> {
        let (started, mut bytes, mut digest) = (Instant::now(), 0_u64, Sha256::new());
        loop {
            let deadline = started + limits.patience_for(bytes);
            let next = timeout_at(deadline, payload.next()).await;
            let Some(chunk) = next.map_err(|_| ApiError::RequestTimeout)? else { break };
            let chunk = chunk.map_err(|_| broken("the stream did not arrive whole"))?;
            bytes += chunk.len() as u64;
            digest.update(&chunk);
            self.write(&chunk)?;
        }
        Ok(digest.finalize().into())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), ApiError> {
        let Some(gzip) = &mut self.gzip else { return Ok(self.receiving.write(chunk)?) };
        for part in chunk.chunks(GZIP_BYTES) {
            gzip.write_all(part).map_err(|_| broken("the stream is no gzip"))?;
            self.receiving.write(gzip.get_ref())?;
            gzip.get_mut().clear();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Receiving, ApiError> {
        if let Some(gzip) = self.gzip.take() {
            let rest = gzip.finish().map_err(|_| broken("the stream's gzip is cut off"))?;
            self.receiving.write(&rest)?;
        }
        Ok(self.receiving)
    }
}

fn broken(detail: &str) -> ApiError {
    ApiError::MalformedJson(detail.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    after: Option<String>,
    limit: Option<String>,
    verdict: Option<String>,
}

impl PageQuery {
    fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = &self.limit else { return Ok(LIMITS.0) };
        let limit = text.parse().ok().filter(|limit| (1..=LIMITS.1).contains(limit));
        Ok(limit.ok_or_else(|| AccountError::field("limit", "out_of_range", "1 to 1000"))?)
    }
}

#[derive(Serialize)]
struct JobPage {
    jobs: Vec<JobView>,
    next: String,
    has_more: bool,
}

/// `GET /v1/sync`
pub async fn list(
    api: web::Data<Api>,
    company: Company,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    company.0.require(Scope::Sync)?;
    let asked: PageQuery = query(&request)?;
    if asked.verdict.is_some() {
        return Err(AccountError::field("verdict", "invalid", "jobs have none").into());
    }
    let after = match asked.after.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse::<JobId>().map_err(|_| AccountError::InvalidCursor)?),
    };
    let (jobs, has_more) = api.accounts.sync_jobs(&company.0, after, asked.limit()?)?;
    let last = jobs.last().map(|job| job.job_id.clone());
    let next = last.or(asked.after).unwrap_or_default();
    Ok(HttpResponse::Ok().json(JobPage { jobs, next, has_more }))
}

/// `GET /v1/sync/{job}`
pub async fn get(
    api: web::Data<Api>,
    company: Company,
    job: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(api.accounts.sync_job(&company.0, &job)?))
}

/// `DELETE /v1/sync/{job}`
pub async fn cancel(
    api: web::Data<Api>,
    company: Company,
    job: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(api.accounts.cancel_sync(&company.0, &job)?))
}

#[derive(Serialize)]
struct RowPage {
    rows: Vec<Box<RawValue>>,
    next: String,
    has_more: bool,
}

/// `GET /v1/sync/{job}/rows`
pub async fn rows(
    api: web::Data<Api>,
    company: Company,
    job: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    company.0.require(Scope::Sync)?;
    let asked: PageQuery = query(&request)?;
    let after = match asked.after.as_deref() {
        None => VerdictCursor::default(),
        Some(text) => cursor(text).ok_or(AccountError::InvalidCursor)?,
    };
    let wanted = match asked.verdict.as_deref() {
        None => None,
        Some(word) => Some(Verdict::parse(word).ok_or_else(|| {
            AccountError::field("verdict", "invalid", "it is none of the verdicts")
        })?),
    };
    let page = (after, asked.limit()?);
    let page = api.accounts.sync_rows(&company.0, &job, page, wanted).await?;
    let VerdictCursor { block, item } = page.next;
    let next = format!("{block:08x}{item:08x}");
    Ok(HttpResponse::Ok().json(RowPage { rows: page.rows, next, has_more: page.has_more }))
}

/// A cursor as a page's `next` writes it, in no other spelling.
fn cursor(text: &str) -> Option<VerdictCursor> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let bits = u64::from_str_radix(text, 16).ok().filter(|_| digits && text.len() == 16)?;
    let block = u32::try_from(bits >> 32).ok()?;
    let item = u32::try_from(bits & u64::from(u32::MAX)).ok()?;
    Some(VerdictCursor { block, item })
}
