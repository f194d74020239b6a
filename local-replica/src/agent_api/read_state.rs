//! `read_state`: who may see which paths of the state tree.

use candid::Principal;
use ic_transport_types::EnvelopeContent;

use super::{Effective, Signed};
use crate::certification::Unsigned;
use crate::errors::ApiError;
use crate::replica::Replica;

/// The IC's limit for one request.
const MAX_PATHS: usize = 1_000;

impl Replica {
    /// The part of the state that a signed request asks for.
    pub fn read_state(&self, request: &Signed, effective: Effective) -> Result<Unsigned, ApiError> {
        if !request.is_anonymous() {
            request.check_expiry(self.time_ns)?;
        }
        let EnvelopeContent::ReadState { paths, .. } = &request.content else {
            return Err(ApiError::bad_request(
                "Expected a request of type `read_state`",
            ));
        };
        if paths.len() > MAX_PATHS {
            return Err(ApiError::bad_request(format!(
                "Too many paths: {} of at most {MAX_PATHS}",
                paths.len()
            )));
        }
        let mut request_id = None;
        for path in paths {
            let path: Vec<&[u8]> = path.iter().map(|label| label.as_bytes()).collect();
            self.check_path(request, effective, &path, &mut request_id)?;
        }
        self.certificate(self.subnet_of(effective)?, paths)
    }

    /// `request_id` is that of the earlier paths: there may be but one.
    fn check_path<'a>(
        &self,
        request: &Signed,
        effective: Effective,
        path: &[&'a [u8]],
        request_id: &mut Option<&'a [u8]>,
    ) -> Result<(), ApiError> {
        match path {
            [b"time"] | [b"subnet"] | [b"api_boundary_nodes"] => Ok(()),
            [b"canister_ranges", id]
            | [b"subnet", id]
            | [
                b"subnet",
                id,
                b"public_key" | b"canister_ranges" | b"type" | b"metrics" | b"node",
            ]
            | [b"subnet", id, b"node", _]
            | [b"subnet", id, b"node", _, b"public_key"] => parse_id(id).map(drop),
            [b"canister", id, b"controllers" | b"module_hash"] => {
                self.check_canister(effective, id).map(drop)
            }
            [b"canister", id, b"metadata", name] => {
                let id = self.check_canister(effective, id)?;
                self.check_metadata(*request.content.sender(), id, name)
            }
            [b"request_status", id]
            | [
                b"request_status",
                id,
                b"status" | b"reply" | b"reject_code" | b"reject_message" | b"error_code",
            ] => {
                if request_id.is_some_and(|earlier| earlier != *id) {
                    return Err(ApiError::bad_request(
                        "Can only request a single request ID in request_status paths.",
                    ));
                }
                *request_id = Some(id);
                self.check_request(request, effective, id)
            }
            _ => Err(ApiError::not_found("Invalid path requested.")),
        }
    }

    /// What is known of a canister is told with its own URL only.
    fn check_canister(&self, effective: Effective, id: &[u8]) -> Result<Principal, ApiError> {
        let id = parse_id(id)?;
        match effective {
            Effective::Canister(effective) if effective != id => {
                Err(ApiError::bad_request(format!(
                    "Effective principal id in URL {effective} does not match requested principal id: {id}."
                )))
            }
            Effective::Subnet(_) => Err(ApiError::not_found("Invalid path requested.")),
            Effective::Canister(_) => Ok(id),
        }
    }

    fn check_metadata(
        &self,
        sender: Principal,
        id: Principal,
        name: &[u8],
    ) -> Result<(), ApiError> {
        let name = std::str::from_utf8(name).map_err(|error| {
            ApiError::bad_request(format!("Could not parse the custom section name: {error}."))
        })?;
        let Some(canister) = self.canisters.get(&id) else {
            // Its absence is no secret.
            return Ok(());
        };
        let section = canister
            .module()
            .and_then(|module| module.metadata().iter().find(|it| it.name == name));
        match section {
            None => Err(ApiError::not_found(format!(
                "Custom section {name:.100} not found."
            ))),
            Some(section) if !section.public && !canister.is_controller(sender) => {
                Err(ApiError::forbidden(format!(
                    "Custom section {name:.100} can only be requested by the controllers of the canister."
                )))
            }
            Some(_) => Ok(()),
        }
    }

    fn check_request(
        &self,
        request: &Signed,
        effective: Effective,
        id: &[u8],
    ) -> Result<(), ApiError> {
        if id.len() != 32 {
            return Err(ApiError::bad_request(
                "Invalid request id in path: it has 32 bytes.",
            ));
        }
        // That a request is unknown is everyone's to know.
        let Some((sender, receiver)) = self.ingress.parties(id) else {
            return Ok(());
        };
        if sender != *request.content.sender() {
            return Err(ApiError::forbidden(
                "The user tries to access Request ID not signed by the caller.",
            ));
        }
        if !request.may_reach(receiver) {
            return Err(ApiError::forbidden(
                "The user tries to access request IDs for canisters not belonging to sender delegation targets.",
            ));
        }
        match effective {
            Effective::Canister(effective)
                if receiver != effective && receiver != Principal::management_canister() =>
            {
                Err(ApiError::bad_request(format!(
                    "Effective principal id in URL {effective} does not match requested principal id: {receiver}."
                )))
            }
            _ => Ok(()),
        }
    }
}

fn parse_id(bytes: &[u8]) -> Result<Principal, ApiError> {
    Principal::try_from_slice(bytes).map_err(|error| {
        ApiError::bad_request(format!("Could not parse principal in path: {error}."))
    })
}
