//! The role that AWS gave to where this program runs: credentials for some hours, fetched anew.
//!
//! | where | named by | who is asked |
//! |---|---|---|
//! | EKS (IRSA) | `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN` | STS in the own region |
//! | ECS, EKS | `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `_FULL_URI` | that address |
//! | EC2 | the settings | the instance's metadata, `IMDSv2` alone |
//!
//! It must ask nobody who is not named: a node elsewhere would wait for an address that nobody has.

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_sdk_kms::config::Region;

use super::http::Carrier;

/// What the environment of a program that was given a role has.
const NAMES: [&str; 3] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// What fetches the role's credentials, in the order of AWS's own tools. None: no role is named.
pub(super) fn role(
    instance: bool,
    aws_region: &str,
    carrier: &Carrier,
) -> Option<CredentialsProviderChain> {
    let is_named = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !instance && !NAMES.into_iter().any(is_named) {
        return None;
    }
    let config = ProviderConfig::without_region()
        .with_region(Some(Region::new(aws_region.to_owned())))
        .with_http_client(carrier.clone());
    let web = WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
    let container = EcsCredentialsProvider::builder().configure(&config).build();
    let named = CredentialsProviderChain::first_try("web identity", web);
    let named = named.or_else("container", container);
    if !instance {
        return Some(named);
    }
    let metadata = ImdsCredentialsProvider::builder().configure(&config).build();
    Some(named.or_else("instance", metadata))
}
