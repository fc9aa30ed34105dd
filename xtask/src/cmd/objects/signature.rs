//! The objects of the verbs around signatures.

use serde::Serialize;

use crate::ctx::Object;
use crate::plan::signature::Signer;

/// Printed by `docker verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifiedObject {
    /// The reference that was asked for.
    pub image: String,
    /// What it is on, and what was looked at.
    pub digest: String,
    /// Whether it is signed by whom it should be.
    pub verified: bool,
    /// How many of its signatures are.
    pub signatures: usize,
    /// The public key that it should be signed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Or the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// And who vouches for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Why it is not verified.
    pub why: Option<String>,
}

impl VerifiedObject {
    /// Says who had to sign it.
    #[must_use]
    pub fn by(self, signer: &Signer) -> Self {
        match signer {
            Signer::Key(file) => Self { key: Some(file.to_string()), ..self },
            Signer::Identity { identity, issuer } => {
                Self { identity: Some(identity.clone()), issuer: Some(issuer.clone()), ..self }
            }
        }
    }

    /// For people.
    pub fn line(&self) -> String {
        let by = self.key.as_ref().or(self.identity.as_ref()).map_or("", String::as_str);
        match self.verified {
            true => format!("{}@{} is signed by {by}", self.image, self.digest),
            false => format!("{}@{} is not verified", self.image, self.digest),
        }
    }
}

impl Object for VerifiedObject {}
