//! Proofs that canisters give of what became of a call: verified here, up to the IC's root key.

use crate::{
    certificate::{self, time},
    ic::IcTransport,
    reply,
    transport::{Transport as _, Trouble},
};
use candid::Principal;
use ic_agent::{AgentError, lookup_value};
use idempotency_core::{
    IdempotencyError,
    certified::{CertifiedData, LABEL, Proof, Proven, Question, Unproven, verify},
    outcome::Asked,
};
use std::time::{Duration, UNIX_EPOCH};

/// How far ahead the expiry of a question is.
const LIFETIME: Duration = Duration::from_secs(120);

/// Why nothing is proved. None of these says anything of the call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The query was not answered, or the certificate is not the IC's word for this canister.
    #[error("no valid certificate of this canister: {0}")]
    Certificate(#[from] AgentError),
    /// The subnet's time can't be read, so nothing was asked.
    #[error("the time of the canister's subnet can't be read: {0}")]
    NoTime(Trouble),
    /// The question or the answer is no candid of this interface, or the certificate is no CBOR.
    #[error("the answer can't be read: {0}")]
    Unreadable(String),
    /// The canister gives no proof. That is one replica's word.
    #[error("the canister gives no proof: {0}")]
    Refused(IdempotencyError),
    /// The proof is of another store than the one that was asked about.
    #[error("the proof is of the store {0:?}")]
    OtherStore(String),
    /// The certificate does not prove it.
    #[error(transparent)]
    Unproven(#[from] Unproven),
}

impl IcTransport {
    /// Asks a canister by a query for a proof of what became of a call, and verifies it: `method` is `idempotency_proof`, say, a query
    /// that answers with [`prove!`](idempotency_core::prove). `label` is the store's, as the canister's interface names it. The reply is
    /// the one that the canister [keeps](Proof::reply); it is part of what is proved.
    ///
    /// Takes as long as a query. A proof may be as old as the replica likes: [`Proven::Absent`] says up to when it speaks.
    ///
    /// # Errors
    /// [`ProofError`]: ask another replica, or ask for the outcome as an update.
    pub async fn proven(
        &self,
        canister: Principal,
        (method, label): (&str, &str),
        call: &Asked,
        question: &Question,
    ) -> Result<(Proven, Option<Vec<u8>>), ProofError> {
        let unreadable = |error: candid::Error| ProofError::Unreadable(error.to_string());
        let arg = candid::encode_one(call).map_err(unreadable)?;
        // By the subnet's clock: the local one may be wrong.
        let now = self.time(canister).await.map_err(ProofError::NoTime)?;
        let expiry = UNIX_EPOCH + Duration::from_nanos(now.as_nanos()) + LIFETIME;
        let query = self.agent().query(&canister, method).with_arg(arg);
        let answer = query.expire_at(expiry).call().await?;
        let proof: Result<Proof, IdempotencyError> = reply::decode(&answer).map_err(unreadable)?;
        let proof = proof.map_err(ProofError::Refused)?;
        let root_key = self.agent().read_root_key();
        let proven = verified(&root_key, canister, label, &proof, question)?;
        Ok((proven, proof.reply.map(|reply| reply.into_vec())))
    }
}

/// What a proof says, if it is a canister's: for a proof that came by other ways. That needs no network, and no more than `root_key`, in DER:
/// the Internet Computer's is that of an [`Agent`](ic_agent::Agent::read_root_key) to which no other was given. How old the proof is does
/// not matter; [`Proven`] says as of when it speaks.
///
/// # Errors
/// [`ProofError`]
pub fn verified(
    root_key: &[u8],
    canister: Principal,
    label: &str,
    proof: &Proof,
    question: &Question,
) -> Result<Proven, ProofError> {
    if proof.label != label {
        return Err(ProofError::OtherStore(proof.label.clone()));
    }
    let certificate = certificate::decoded(&proof.certificate).map_err(ProofError::Unreadable)?;
    certificate::verify(&certificate, canister, root_key)?;
    let data = lookup_value(
        &certificate,
        [&b"canister"[..], canister.as_slice(), b"certified_data"],
    )?;
    let certified = CertifiedData {
        data,
        time: time(&certificate)?,
    };
    let path = [LABEL.as_bytes(), label.as_bytes()];
    let reply = proof.reply.as_ref().map(|reply| reply.as_slice());
    Ok(verify(certified, &proof.witness, &path, question, reply)?)
}
