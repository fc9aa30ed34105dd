//! The options of the verbs around signatures.

use camino::Utf8PathBuf;
use clap::Args;

use crate::model::option;
use crate::model::reference::{Registry, Tag};

/// Options of `docker verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// A reference, or a service for its published image
    #[arg(value_name = "REF|SERVICE")]
    pub image: String,
    /// The public key that it must be signed by
    #[arg(long, value_name = "FILE", value_parser = option::path, required_unless_present = "identity")]
    pub key: Option<Utf8PathBuf>,
    /// Or, without a key: who must have signed it, as the certificate says, such as a workflow's address
    #[arg(long, value_name = "IDENTITY", value_parser = option::signer, conflicts_with = "key")]
    pub identity: Option<String>,
    /// Who vouches for that identity
    #[arg(
        long,
        value_name = "URL", value_parser = option::signer,
        requires = "identity",
        default_value = "https://token.actions.githubusercontent.com"
    )]
    pub issuer: String,
    /// Of a service: the tag
    #[arg(short, long, value_name = "TAG", default_value = "latest")]
    pub tag: Tag,
    /// Of a service: the registry in front of its name [default: services.toml's registry and owner]
    #[arg(short, long, value_name = "HOST[/PATH]")]
    pub registry: Option<Registry>,
}
