//! `read_state`: who may see which paths of the state tree.

use candid::Principal;
use ic_transport_types::EnvelopeContent;

use super::envelope::hex;
use super::{Effective, Routes, Signed};
use crate::certification::Unsigned;
use crate::errors::ApiError;
use crate::replica::Replica;

/// The IC's limit for one request.
const MAX_PATHS: usize = 1_000;
/// The IC's limit for one path.
const MAX_LABELS: usize = 127;
const REQUEST_ID_BYTES: usize = 32;

impl Replica {
    /// The part of the state that a signed request asks for.
    pub fn read_state(
        &self,
        request: &Signed,
        effective: Effective,
        routes: Routes,
    ) -> Result<Unsigned, ApiError> {
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
                "Too many paths in read state request: got {} paths, but at most {MAX_PATHS} are allowed.",
                paths.len()
            )));
        }
        if let Some(length) = paths
            .iter()
            .map(Vec::len)
            .find(|length| *length > MAX_LABELS)
        {
            return Err(ApiError::bad_request(format!(
                "At least one path in read state request is too deep: got {length} labels, but at most {MAX_LABELS} are allowed."
            )));
        }
        let mut request_id = None;
        for path in paths {
            let path: Vec<&[u8]> = path.iter().map(|label| label.as_bytes()).collect();
            self.check_path(request, (effective, routes), &path, &mut request_id)?;
        }
        let ranges = routes.ranges(effective);
        self.certificate(self.subnet_of(effective)?, paths, ranges)
    }

    /// `request_id` is that of the earlier paths: there may be but one.
    fn check_path<'a>(
        &self,
        request: &Signed,
        (effective, routes): (Effective, Routes),
        path: &[&'a [u8]],
        request_id: &mut Option<&'a [u8]>,
    ) -> Result<(), ApiError> {
        let to_subnet = matches!(effective, Effective::Subnet(_));
        match path {
            [b"time"]
            | [b"api_boundary_nodes"]
            | [b"api_boundary_nodes", _]
            | [
                b"api_boundary_nodes",
                _,
                b"domain" | b"ipv4_address" | b"ipv6_address",
            ]
            | [b"subnet"]
            | [b"subnet", _]
            | [b"subnet", _, b"public_key" | b"type" | b"node"]
            | [b"subnet", _, b"node", _]
            | [b"subnet", _, b"node", _, b"public_key"] => Ok(()),
            [b"subnet", id, b"metrics"] if to_subnet => check_effective(effective, id).map(drop),
            [b"subnet", id, b"canister_ranges"]
                if routes == Routes::Older || *id == self.topology.root().id.as_slice() =>
            {
                Ok(())
            }
            [b"canister_ranges", _] if to_subnet => Ok(()),
            [b"canister", id, b"controllers" | b"module_hash"] if !to_subnet => {
                check_effective(effective, id).map(drop)
            }
            [b"canister", id, b"metadata", name] if !to_subnet => {
                let id = check_effective(effective, id)?;
                self.check_metadata(*request.content.sender(), id, name)
            }
            [b"request_status", id]
            | [
                b"request_status",
                id,
                b"status" | b"reply" | b"reject_code" | b"reject_message" | b"error_code",
            ] if !to_subnet || routes == Routes::Newer => {
                self.check_request(request, id)?;
                match request_id.replace(id) {
                    Some(earlier) if earlier != *id => Err(ApiError::bad_request(format!(
                        "More than one non-unique request ID exists in request_status paths: 0x{} and 0x{}.",
                        hex(earlier),
                        hex(id)
                    ))),
                    _ => Ok(()),
                }
            }
            _ => Err(ApiError::not_found("Invalid path requested.")),
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
            return Ok(());
        };
        let section = canister
            .module()
            .and_then(|module| module.metadata().iter().find(|it| it.name == name));
        match section {
            Some(section) if !section.public && !canister.is_controller(sender) => {
                Err(ApiError::forbidden(format!(
                    "Custom section {name:.100} can only be requested by the controllers of the canister."
                )))
            }
            // Its absence is no secret.
            _ => Ok(()),
        }
    }

    fn check_request(&self, request: &Signed, id: &[u8]) -> Result<(), ApiError> {
        if id.len() != REQUEST_ID_BYTES {
            return Err(ApiError::bad_request(format!(
                "Invalid request id in paths. Maybe the request ID is not of {REQUEST_ID_BYTES} bytes in length?!"
            )));
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
        Ok(())
    }
}

/// What is known of one is told with its own URL only.
fn check_effective(effective: Effective, id: &[u8]) -> Result<Principal, ApiError> {
    let id = Principal::try_from_slice(id).map_err(|error| {
        ApiError::bad_request(format!("Could not parse principal ID: {error}."))
    })?;
    let (Effective::Canister(effective) | Effective::Subnet(effective)) = effective;
    if effective == id {
        return Ok(id);
    }
    Err(ApiError::bad_request(format!(
        "Effective principal id in URL {effective} does not match requested principal id: {id}."
    )))
}
