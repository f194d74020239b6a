//! The methods that the IC sends.

/// A method that the IC sends, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get = 0,
    Head = 1,
    Post = 2,
    Put = 3,
    Delete = 4,
}

impl Method {
    pub(super) fn read(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Get),
            1 => Some(Self::Head),
            2 => Some(Self::Post),
            3 => Some(Self::Put),
            4 => Some(Self::Delete),
            _ => None,
        }
    }

    /// Whoever sends it asks for no effect (RFC 9110, section 9.2.1).
    pub(super) fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }

    /// The effect of several is that of one (RFC 9110, section 9.2.2).
    pub(super) fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post)
    }

    /// The IC sends PUT and DELETE from one replica only: those of the other replicas may arrive after the canister has the answer, and
    /// undo what it sends next.
    pub(super) fn may_be_replicated(self) -> bool {
        !matches!(self, Self::Put | Self::Delete)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}
