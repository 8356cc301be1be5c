//! The fonts of one program that needs nothing beside it.

use shared::draw::fonts::Fonts;

/// See `shared/assets/fonts/README.md`.
pub(crate) fn embedded() -> Fonts {
    Fonts::Embedded([
        include_bytes!("../../shared/assets/fonts/Inter-SemiBold.ttf"),
        include_bytes!("../../shared/assets/fonts/NotoSansHebrew-SemiBold.ttf"),
        include_bytes!("../../shared/assets/fonts/NotoSansArabic-SemiBold.ttf"),
        include_bytes!("../../shared/assets/fonts/Twemoji.ttf"),
    ])
}
