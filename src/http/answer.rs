//! Signed answers: `{"jwt": ..}` for callers that ask for it with `Accept: application/jwt`.
//!
//! Every answer with a body to a company that was recognised is signed then, refusals as well. One
//! that is not signed says nothing that a company may rely on but that it should ask again.

use actix_web::body::{self, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::accounts::signing::LIFETIME_MS;
use crate::events::ids::CompanyId;

use super::accept::{self, JWT};
use super::api::Api;

/// The company that a call was recognised as, and what its answer is to name.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    company: CompanyId,
    /// The `jti` of the call's token, once that was found right.
    jti: Option<String>,
}

impl Asker {
    /// Remembers who calls.
    pub(super) fn recognised_as(request: &HttpRequest, company: CompanyId) {
        request.extensions_mut().insert(Self { company, jti: None });
    }

    /// Remembers the token of the call.
    pub(super) fn signed_as(request: &HttpRequest, jti: &str) {
        if let Some(asker) = request.extensions_mut().get_mut::<Self>() {
            asker.jti = Some(jti.to_owned());
        }
    }
}

/// The claims of an answer.
#[derive(Serialize)]
struct Claims<'a> {
    iss: String,
    aud: CompanyId,
    iat: u64,
    exp: u64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    irt: Option<&'a str>,
    res: &'a RawValue,
}

/// The answer as it is sent.
#[derive(Serialize)]
struct Signed {
    jwt: String,
}

/// Signs an answer where its caller asked for that and is known. Comes back as it was otherwise.
/// Where it cannot be signed only the request comes back: nothing unsigned goes out in its place.
pub(super) async fn sign<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    api: &Api,
) -> Result<ServiceResponse<BoxBody>, HttpRequest> {
    let asker = response.request().extensions().get::<Asker>().cloned();
    let wanted = accept::names_jwt(response.request().headers());
    let Some(asker) = asker.filter(|_| wanted) else { return Ok(response.map_into_boxed_body()) };
    let (request, response) = response.into_parts();
    let (mut response, content) = response.into_parts();
    let Ok(content) = body::to_bytes(content).await else { return Err(request) };
    // What has no body (304, 204) has nothing to sign.
    if content.is_empty() {
        return Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(content))));
    }
    let now = api.accounts.clock().unix_ms();
    let answer = serde_json::from_slice::<&RawValue>(&content).ok();
    match answer.and_then(|res| signed_body(api, &asker, now, res)) {
        Some(signed) => {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JWT));
            Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(signed))))
        }
        None => Err(request),
    }
}

fn signed_body(api: &Api, asker: &Asker, now: u64, res: &RawValue) -> Option<Vec<u8>> {
    let mut jti = [0_u8; 16];
    getrandom::fill(&mut jti).ok()?;
    let iat = now / 1000;
    let claims = Claims {
        iss: format!("jcas:{}", api.region),
        aud: asker.company,
        iat,
        exp: iat + LIFETIME_MS / 1000,
        jti: hex::encode(jti),
        irt: asker.jti.as_deref(),
        res,
    };
    serde_json::to_vec(&Signed { jwt: api.answer_keys.sign(&claims)? }).ok()
}
