//! The second listener: what operators call, with the token of the data folder.
//!
//! The command line speaks to it. Its paths are not part of the companies' contract.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::doctor::Specimen;
use crate::accounts::error::AccountError;
use crate::accounts::signing::{Algorithm, TokenKey, WantedSigning, algorithm_of};
use crate::accounts::view::rfc3339;
use crate::events::ids::{ApiKeyId, CompanyId, Country};
use crate::events::policy::{Policies, Scope, Scopes, Signing};
use crate::events::registry::CompanyState;

use super::api::Api;
use super::body;
use super::caller::Operator;
use super::error::ApiError;
use super::hash_profiles::slot_of;
use super::report::report;
use super::resource::resource;
use super::route::Route;

/// The operators' resources.
pub fn operator_routes(config: &mut web::ServiceConfig) {
    config
        .app_data(Route::new("unknown"))
        .service(resource("/operator/companies").get(companies))
        .service(resource("/operator/companies/{id}").get(company).put(put_company))
        .service(resource("/operator/companies/{id}/report").get(report))
        .service(resource("/operator/companies/{id}/policies").put(put_policies))
        .service(resource("/operator/companies/{id}/keys").post(issue_key))
        .service(resource("/operator/companies/{id}/keys/{key}").delete(revoke_key))
        .service(
            resource("/operator/companies/{id}/hash-profiles/{country}/{name}")
                .put(put_hash_profile),
        )
        .service(resource("/operator/hash-profiles/probe").post(probe))
        .service(resource("/operator/state").get(state))
        .configure(super::regions::region_routes)
        .configure(super::keys::key_routes)
        .service(resource("/health/live").get(super::health::live))
        .service(resource("/health/ready").get(super::health::ready))
        .service(resource("/metrics").get(super::health::metrics))
        .default_service(web::to(super::not_found));
}

pub(super) fn company_id(text: &str) -> Result<CompanyId, ApiError> {
    text.parse().map_err(|error| AccountError::field("id", "invalid", error).into())
}

fn show(id: CompanyId, company: &CompanyState) -> Value {
    let registered = company.registered.as_ref().map(|cell| &cell.value);
    let keys: Vec<_> = company
        .live_keys()
        .map(|key| {
            json!({
                "key": key.key,
                "scopes": key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
                "signing": key.signing.as_ref().map(|it| algorithm_of(it).name()),
                "expires_at": key.expires_unix_ms.map(rfc3339),
            })
        })
        .collect();
    let profiles: Vec<_> = company
        .profiles
        .iter()
        .map(|((country, name), cell)| {
            json!({ "country": country, "name": name, "profile_id": cell.value })
        })
        .collect();
    json!({
        "company": id,
        "countries": company.countries(),
        "signing": registered.map(|it| it.signing),
        "policies": company.policies(),
        "keys": keys,
        "hash_profiles": profiles,
    })
}

async fn companies(api: web::Data<Api>, _: Operator) -> HttpResponse {
    let registry = api.accounts.house().registry();
    let all = &registry.state.companies;
    let shown: Vec<_> = all.iter().map(|(id, company)| show(*id, company)).collect();
    HttpResponse::Ok().json(json!({ "companies": shown }))
}

async fn company(
    api: web::Data<Api>,
    _: Operator,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = company_id(&id)?;
    let registry = api.accounts.house().registry();
    let company = registry.state.companies.get(&id);
    let company = company.ok_or(AccountError::NotFound("the company was"))?;
    Ok(HttpResponse::Ok().json(show(id, company)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompanyBody {
    countries: Vec<Country>,
    signing: Signing,
}

async fn put_company(
    api: web::Data<Api>,
    _: Operator,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body: CompanyBody = body::json(&request, payload).await?;
    let id = company_id(&id)?;
    let outcome = api.accounts.put_company(id, body.countries, body.signing).await?;
    Ok(HttpResponse::Ok().json(json!({ "company": id, "outcome": format!("{outcome:?}") })))
}

async fn put_policies(
    api: web::Data<Api>,
    _: Operator,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let policies: Policies = body::json(&request, payload).await?;
    let id = company_id(&id)?;
    api.accounts.set_policies(id, policies).await?;
    Ok(HttpResponse::Ok().json(json!({ "company": id, "policies": policies })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    scopes: Vec<Scope>,
    expires_in_s: Option<u64>,
    /// Left out: as the company must.
    signing: Option<KeySigning>,
    /// With `eddsa`: the company's public key.
    public_jwk: Option<Value>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeySigning {
    None,
    Hs256,
    Eddsa,
}

fn wanted_signing(body: &KeyBody) -> Result<WantedSigning, ApiError> {
    let wrong = |code, detail: &str| Err(AccountError::field("public_jwk", code, detail).into());
    match (body.signing, &body.public_jwk) {
        (Some(KeySigning::Eddsa), None) => wrong("required", "EdDSA needs the public JWK"),
        (Some(KeySigning::Eddsa), Some(jwk)) => {
            match TokenKey::public_of_jwk(jwk.to_string().as_bytes()) {
                Ok(public) => Ok(WantedSigning::EdDsa(public)),
                Err(error) => wrong("invalid", &error.to_string()),
            }
        }
        (_, Some(_)) => wrong("unknown_field", "a public JWK goes with signing = eddsa"),
        (Some(KeySigning::Hs256), None) => Ok(WantedSigning::Hs256),
        (Some(KeySigning::None), None) => Ok(WantedSigning::Unsigned),
        (None, None) => Ok(WantedSigning::AsTheCompanyMust),
    }
}

async fn issue_key(
    api: web::Data<Api>,
    _: Operator,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body: KeyBody = body::json(&request, payload).await?;
    let now = api.accounts.clock().unix_ms();
    let expires = body.expires_in_s.map(|s| now.saturating_add(s.saturating_mul(1000)));
    let wanted = wanted_signing(&body)?;
    let scopes = Scopes::new(body.scopes);
    let key = api.accounts.issue_key(company_id(&id)?, scopes, expires, wanted).await?;
    let [audience, _] = &api.audiences;
    Ok(HttpResponse::Created().json(json!({
        "key": key.id,
        "api_key": key.text.as_str(),
        "signing": key.algorithm.map(Algorithm::name),
        "signing_secret": key.signing_secret.as_ref().map(|secret| secret.as_str()),
        "audience": audience,
        "expires_at": expires.map(rfc3339),
    })))
}

async fn revoke_key(
    api: web::Data<Api>,
    _: Operator,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let wrong = |error| AccountError::field("key", "invalid", error);
    let key: ApiKeyId = path.1.parse().map_err(wrong)?;
    api.accounts.revoke_key(company_id(&path.0)?, key).await?;
    Ok(HttpResponse::Ok().json(json!({ "key": key, "revoked": true })))
}

async fn put_hash_profile(
    api: web::Data<Api>,
    _: Operator,
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (company, country, name) = path.into_inner();
    let (slot, name) = slot_of(company_id(&company)?, &(country, name))?;
    let profile: Value = body::json(&request, payload).await?;
    let bytes = serde_json::to_vec(&profile).map_err(|_| ApiError::Internal)?;
    let id = api.accounts.declare_profile(slot, name, &bytes).await?;
    Ok(HttpResponse::Ok().json(json!({ "profile_id": id })))
}

async fn probe(
    api: web::Data<Api>,
    _: Operator,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let specimen: Specimen = body::json(&request, payload).await?;
    Ok(HttpResponse::Ok().json(api.accounts.diagnose(None, specimen).await?))
}

async fn state(api: web::Data<Api>, _: Operator) -> Result<HttpResponse, ApiError> {
    let report = api.operations.state_hash().await.map_err(|error| {
        tracing::error!(error, "the state hash could not be computed");
        ApiError::Internal
    })?;
    Ok(HttpResponse::Ok().json(report))
}
