//! Breakages of the client outside the IC: of what it proves to others.

use super::Mutant;

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "agent/certificate-of-any-request",
        file: "answer.rs",
        text: "let reply = reply(&certificate, &self.content().to_request_id())?;",
        instead: "let paths = certificate.tree.list_paths();
        let id = paths.iter().find_map(|path| <[u8; 32]>::try_from(path.get(1)?.as_bytes()).ok());
        let reply = reply(&certificate, &RequestId::new(&id.unwrap_or_default()))?;",
        harm: "an answer to one question is shown as the answer to another one",
        tests: &["tests::answers::a_changed_field_is_another_request"],
    },
    Mutant {
        name: "agent/sender-is-not-compared",
        file: "answer.rs",
        text: "sender: self.sender,
            canister_id",
        instead: "sender: Principal::from_slice(&[1]),
            canister_id",
        harm: "what a canister has said of one caller's calls is shown as if it spoke of another one's",
        tests: &["tests::answers::a_changed_field_is_another_request"],
    },
    Mutant {
        name: "agent/outcomes-of-other-calls",
        file: "answer.rs",
        text: "if outcomes.len() != calls.len() {",
        instead: "if false {",
        harm: "a call has no outcome, or another call's",
        tests: &["tests::answers::what_is_no_answer_to_the_question_is_refused"],
    },
    Mutant {
        name: "agent/certificates-are-not-verified",
        file: "certificate.rs",
        text: "agent.verify(certificate, canister)",
        instead: "let _ = agent.verify(certificate, canister);
    Ok(())",
        harm: "whoever makes up a certificate is believed",
        tests: &[
            "tests::answers::what_the_root_key_does_not_vouch_for_is_nobodys_word",
            "tests::answers::a_subnet_that_hides_which_canisters_it_has_speaks_for_none",
        ],
    },
    Mutant {
        name: "agent/fresh-certificates-only",
        file: "certificate.rs",
        text: "
        .with_ingress_expiry(ANY_AGE)",
        instead: "",
        harm: "what was proved can't be shown to anybody some minutes later",
        tests: &["tests::answers::it_is_read_with_the_root_key_alone_however_old_it_is"],
    },
];
