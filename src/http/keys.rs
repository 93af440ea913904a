//! What operators see of branch keys and of the KMS.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::accounts::view::rfc3339;

use super::api::Api;
use super::caller::Operator;
use super::resource::resource;

/// Where operators look at keys.
pub fn key_routes(config: &mut web::ServiceConfig) {
    config.service(resource("/operator/keys").get(keys));
}

async fn keys(api: web::Data<Api>, _: Operator) -> HttpResponse {
    let vault = api.accounts.vault();
    let now = api.accounts.clock().unix_ms();
    let branch_keys = vault.branch_standing();
    let mut wrapped: BTreeMap<_, usize> = BTreeMap::new();
    for region in branch_keys.iter().flat_map(|key| &key.regions) {
        *wrapped.entry(*region).or_default() += 1;
    }
    let regions = vault.kms_standing().into_iter().map(|(region, kms)| {
        let opens = wrapped.get(&region).copied().unwrap_or_default();
        json!({ "region": region, "wrapped": opens, "kms": kms })
    });
    let regions: Vec<Value> = regions.collect();
    let shown = branch_keys.iter().map(|key| {
        let holes = key.holes.iter().map(|(region, why)| json!({ "region": region, "why": why }));
        json!({
            "key": key.key,
            "made_by": key.made_by,
            "made_at": rfc3339(key.made_ms),
            "age_ms": now.saturating_sub(key.made_ms),
            "in_memory": key.in_memory,
            "to_renew": key.to_renew,
            "regions": key.regions,
            "holes": holes.collect::<Vec<_>>(),
        })
    });
    let shown: Vec<Value> = shown.collect();
    HttpResponse::Ok().json(json!({
        "region": api.region,
        "wrapping_key": api.operations.wrapping_key(),
        "holes": vault.holes(),
        "to_renew": vault.to_renew(),
        "regions": regions,
        "branch_keys": shown,
    }))
}
