//! Boxes: what customers keep assets together in. Pure: what a box is, and how far its removal is.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::{BoxStatus, BoxView};
use crate::ids::{AccountId, BoxId};

/// So many boxes an account may have.
pub const MAX_BOXES: u32 = 1_000;

/// A box. It does not know what is in it: each asset knows its box, and the table has a row for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetBox {
    pub id: BoxId,
    /// Whose it is.
    pub account: AccountId,
    /// Empty once it is being removed: names are content.
    pub name: String,
    /// Raised by each change; a write is conditional on it.
    pub version: u64,
    pub created_at: Timestamp,
    /// Set once it is to go: from then on nothing is put into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
}

/// The end of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// What becomes of its assets.
    pub content: BoxContent,
    pub requested_at: Timestamp,
    /// When the poll has to go on.
    pub due_at: Timestamp,
}

/// What becomes of the assets of a box that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxContent {
    /// They stay, without a box.
    Keep,
    /// Each is erased, as if it were asked for by itself.
    Erase,
}

/// The shortest pause before what could not be done is tried again.
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// The longest one.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(15);

impl AssetBox {
    /// A new one, with nothing in it.
    pub fn new(id: BoxId, account: AccountId, name: String) -> Self {
        Self { id, account, name, version: 1, created_at: id.created_at(), removal: None }
    }

    /// The same box under another name.
    pub fn renamed(&self, name: String) -> Self {
        Self { name, version: self.version + 1, ..self.clone() }
    }

    /// It goes, and its name at once. Asked for again, the latest word about its content counts.
    pub fn removing(&self, content: BoxContent, now: Timestamp) -> Self {
        let requested_at = self.removal.map_or(now, |earlier| earlier.requested_at);
        self.with_removal(Removal { content, requested_at, due_at: now + SHORTEST_PAUSE })
    }

    /// There is more to do: at once after a page that was done, with a pause when some of it could not be.
    pub fn removing_more(&self, is_done: bool, now: Timestamp) -> Self {
        let Some(removal) = self.removal else { return self.clone() };
        let pause = now.duration_since(removal.requested_at).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let due_at = if is_done { now } else { now + pause };
        self.with_removal(Removal { due_at, ..removal })
    }

    fn with_removal(&self, removal: Removal) -> Self {
        Self { name: String::new(), version: self.version + 1, removal: Some(removal), ..self.clone() }
    }

    /// When the poll has to look at it.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.removal.map(|removal| removal.due_at)
    }

    /// As its owner sees it.
    pub fn view(&self) -> BoxView {
        let (status, name) = match self.removal {
            None => (BoxStatus::Open, Some(self.name.clone())),
            Some(_) => (BoxStatus::Removing, None),
        };
        BoxView { id: self.id, status, name, created_at: self.created_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_box() -> AssetBox {
        AssetBox::new(BoxId::from_parts(1_000, [1; 10]), AccountId::from_parts(1, [1; 10]), "holiday".to_owned())
    }

    #[test]
    fn a_removal_takes_the_name_at_once_and_the_last_word_counts() {
        let start = a_box().created_at;
        let going = a_box().removing(BoxContent::Keep, start);
        assert_eq!((going.name.as_str(), going.version, going.due_at()), ("", 2, Some(start + SHORTEST_PAUSE)));
        let later = start + SignedDuration::from_hours(1);
        let again = going.removing(BoxContent::Erase, later);
        let removal = again.removal.expect("it goes");
        assert_eq!((removal.content, removal.requested_at, again.version), (BoxContent::Erase, start, 3));
        assert_eq!(again.view().name, None);
    }

    #[test]
    fn what_cannot_be_done_is_tried_ever_more_rarely() {
        let start = a_box().created_at;
        let going = a_box().removing(BoxContent::Erase, start);
        assert_eq!(going.removing_more(true, start).due_at(), Some(start));
        assert_eq!(going.removing_more(false, start).due_at(), Some(start + SHORTEST_PAUSE));
        let later = start + SignedDuration::from_hours(9);
        assert_eq!(going.removing_more(false, later).due_at(), Some(later + LONGEST_PAUSE));
        assert_eq!(a_box().removing_more(false, later), a_box());
    }
}
