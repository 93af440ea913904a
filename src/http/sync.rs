//! Bulk sync: a stream of rows in, a job, its verdicts.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::accounts::error::AccountError;
use crate::accounts::sync::{JobId, JobView, Verdict, VerdictCursor};
use crate::events::ids::Country;
use crate::events::policy::Scope;

use super::api::Api;
use super::body::BodyLimits;
use super::call::{Company, Streamed};
use super::error::ApiError;
use super::stream;
use super::users::country;

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
    let (receiving, sent) = stream::take(receiving, gzip, payload, limits).await?;
    if digest.is_some_and(|digest| digest != sent) {
        stream::leave(receiving).await?;
        return Err(ApiError::BodyDigestMismatch);
    }
    let job_id = receiving.finish().await?;
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
    if let Some(withdrawn) = api.accounts.withdraw_upload(&company.0, &job)? {
        return Ok(HttpResponse::Ok().json(withdrawn));
    }
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
