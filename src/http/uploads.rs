//! Bulk sync in parts: an upload, its parts, the job its rows go to.

use std::io::Write as _;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};

use crate::accounts::caller::Caller;
use crate::accounts::error::AccountError;
use crate::accounts::sync::Receiving;
use crate::accounts::sync::upload::{PartReceiving, UploadAsked, UploadReading, UploadView};
use crate::events::policy::Scope;

use super::api::Api;
use super::body::BodyLimits;
use super::call::{Call, Company, Streamed};
use super::error::ApiError;
use super::users::country;

/// Compressed bytes that are opened at once: they become a thousand times as many at most.
const GZIP_BYTES: usize = 1024;

/// What an upload is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    country: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    gzip: bool,
    length: u64,
    digest: String,
}

/// `POST /v1/sync/uploads`. Finds the one that was begun and is not whole.
pub async fn begin(
    api: web::Data<Api>,
    Call { caller, body }: Call<Begin>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Sync)?;
    let digest = URL_SAFE_NO_PAD.decode(&body.digest).ok();
    let digest: Option<[u8; 32]> = digest.and_then(|digest| digest.try_into().ok());
    let wrong = || AccountError::field("digest", "invalid", "a SHA-256 in base64url");
    let asked = UploadAsked {
        country: country(&body.country)?,
        dry_run: body.dry_run,
        gzip: body.gzip,
        length: body.length,
        digest: digest.ok_or_else(wrong)?,
    };
    Ok(HttpResponse::Ok().json(api.accounts.begin_upload(&caller, &asked).await?))
}

/// `GET /v1/sync/uploads/{upload}`
pub async fn get(
    api: web::Data<Api>,
    company: Company,
    upload: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(api.accounts.upload(&company.0, &upload).await?))
}

/// `PUT /v1/sync/uploads/{upload}/{offset}`. The part that brings the last bytes makes the job.
pub async fn put(
    api: web::Data<Api>,
    Streamed { caller, digest }: Streamed,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Sync)?;
    check_media(&request)?;
    let (id, offset) = &*path;
    let wrong = |_| AccountError::field("offset", "invalid", "a number of bytes");
    let offset = offset.parse().map_err(wrong)?;
    let limits = request.app_data::<BodyLimits>().copied().ok_or(ApiError::Internal)?;
    let mut part = api.accounts.receive_part(&caller, id, offset).await?;
    let sent = drain(&mut part, payload, limits).await?;
    if digest.is_some_and(|digest| digest != sent) {
        return Err(ApiError::BodyDigestMismatch);
    }
    part.finish().await?;
    let view = match api.accounts.read_upload(&caller, id).await? {
        Some(whole) => take(&api, &caller, whole).await?,
        None => api.accounts.upload(&caller, id).await?,
    };
    Ok(HttpResponse::Ok().json(view))
}

/// What a part must be declared as.
fn check_media(request: &HttpRequest) -> Result<(), ApiError> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let declared = text(header::CONTENT_TYPE).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    let plain = text(header::CONTENT_ENCODING).is_none_or(|it| it.eq_ignore_ascii_case("identity"));
    if plain && essence.eq_ignore_ascii_case("application/octet-stream") {
        return Ok(());
    }
    Err(ApiError::NotOctets)
}

/// Takes a part to its end. Comes back with the digest of what was sent.
async fn drain(
    part: &mut PartReceiving,
    mut payload: web::Payload,
    limits: BodyLimits,
) -> Result<[u8; 32], ApiError> {
    let (started, mut bytes, mut digest) = (Instant::now(), 0_u64, Sha256::new());
    loop {
        let deadline = started + limits.patience_for(bytes);
        let next = timeout_at(deadline, payload.next()).await;
        let Some(chunk) = next.map_err(|_| ApiError::RequestTimeout)? else { break };
        let chunk = chunk.map_err(|_| broken("the part did not arrive whole"))?;
        bytes += chunk.len() as u64;
        digest.update(&chunk);
        part.write(&chunk)?;
    }
    Ok(digest.finalize().into())
}

/// Takes an upload that is here as a whole, as a stream is taken. What can come to nothing is gone
/// then; what fails otherwise may be asked for again, with an empty part at the end.
async fn take(
    api: &Api,
    caller: &Caller,
    mut whole: UploadReading,
) -> Result<UploadView, ApiError> {
    let receiving = api.accounts.receive_sync(caller, whole.country(), whole.dry_run()).await?;
    let reading = tokio::task::spawn_blocking(move || {
        let read = read(&mut whole, receiving);
        (whole, read)
    });
    let (whole, read) = reading.await.map_err(|_| ApiError::Internal)?;
    match read {
        Ok(receiving) => {
            let job_id = receiving.finish().await?;
            Ok(whole.went_to(&job_id).await?)
        }
        Err(error) => {
            if is_final(&error) {
                whole.discard();
            }
            Err(error)
        }
    }
}

/// Whether an upload can never become a job.
const fn is_final(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::BodyDigestMismatch
            | ApiError::MalformedJson(_)
            | ApiError::Account(AccountError::SyncTooLong(_))
    )
}

/// Reads all of it into a job's rows, and looks whether it is what was announced.
fn read(whole: &mut UploadReading, mut receiving: Receiving) -> Result<Receiving, ApiError> {
    let mut gzip = whole.gzip().then(|| MultiGzDecoder::new(Vec::new()));
    let mut digest = Sha256::new();
    while let Some(bytes) = whole.next_bytes()? {
        digest.update(bytes.as_slice());
        let Some(gzip) = &mut gzip else {
            receiving.write(&bytes)?;
            continue;
        };
        for part in bytes.chunks(GZIP_BYTES) {
            gzip.write_all(part).map_err(|_| broken("the upload is no gzip"))?;
            receiving.write(gzip.get_ref())?;
            gzip.get_mut().clear();
        }
    }
    if !whole.is(&digest.finalize().into()) {
        return Err(ApiError::BodyDigestMismatch);
    }
    if let Some(gzip) = gzip {
        let rest = gzip.finish().map_err(|_| broken("the upload's gzip is cut off"))?;
        receiving.write(&rest)?;
    }
    Ok(receiving)
}

fn broken(detail: &str) -> ApiError {
    ApiError::MalformedJson(detail.to_owned())
}
