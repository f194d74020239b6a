//! Users' signatures.

use ic_ed25519::PublicKey;
use k256::ecdsa::signature::Verifier;
use k256::ecdsa::{Signature, VerifyingKey};
use k256::pkcs8::DecodePublicKey;

/// Checks a signature with a public key in DER; why it isn't valid.
pub(super) fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), String> {
    if let Ok(key) = PublicKey::deserialize_rfc8410_der(key) {
        return key.verify_signature(message, signature).map_err(|error| {
            format!("Invalid basic signature: Ed25519 signature could not be verified: {error:?}")
        });
    }
    if let Ok(key) = VerifyingKey::from_public_key_der(key) {
        let signature = Signature::from_slice(signature).map_err(|error| {
            format!("Invalid basic signature: malformed ECDSA signature: {error}")
        })?;
        return key.verify(message, &signature).map_err(|error| {
            format!("Invalid basic signature: ECDSA signature could not be verified: {error}")
        });
    }
    Err("not supported by local-replica: keys other than Ed25519 and ECDSA on secp256k1".to_owned())
}
