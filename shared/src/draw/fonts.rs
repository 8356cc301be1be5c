//! Where the fonts are. The deployed function finds them in a layer: they are a sixth of all it needs, and hardly ever change. What runs as
//! one program brings them along.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The files of `shared/assets/fonts`, in the order of falling back; the emoji last.
pub const FILES: [&str; 4] = ["Inter-SemiBold.ttf", "NotoSansHebrew-SemiBold.ttf", "NotoSansArabic-SemiBold.ttf", "Twemoji.ttf"];

/// The fonts of this process.
static FONTS: OnceLock<Fonts> = OnceLock::new();

/// The four [`FILES`].
#[derive(Debug, Clone)]
pub enum Fonts {
    /// Read from a directory when something is drawn.
    Directory(PathBuf),
    /// Part of the program.
    Embedded([&'static [u8]; 4]),
}

/// A file of fonts that is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "the font `{path}` cannot be read: {reason}. It belongs to the layer `FontsLayer` of template.yaml; `FONTS_DIR` says where that is"
)]
pub struct MissingFont {
    path: PathBuf,
    reason: io::Error,
}

impl Fonts {
    /// Those that the program brings along. Who never calls it is linked without them.
    pub fn embedded() -> Self {
        Self::Embedded([
            include_bytes!("../../assets/fonts/Inter-SemiBold.ttf"),
            include_bytes!("../../assets/fonts/NotoSansHebrew-SemiBold.ttf"),
            include_bytes!("../../assets/fonts/NotoSansArabic-SemiBold.ttf"),
            include_bytes!("../../assets/fonts/Twemoji.ttf"),
        ])
    }

    /// Those of a directory, if all are there.
    pub fn of(directory: &Path) -> Result<Self, MissingFont> {
        for file in FILES {
            let path = directory.join(file);
            std::fs::metadata(&path).map_err(|reason| MissingFont { path, reason })?;
        }
        Ok(Self::Directory(directory.to_owned()))
    }

    /// Makes them the fonts of this process, unless it has some already.
    pub fn install(self) {
        FONTS.get_or_init(|| self);
    }

    fn file(&self, index: usize) -> Result<Cow<'static, [u8]>, MissingFont> {
        match self {
            Self::Embedded(files) => Ok(Cow::Borrowed(files[index])),
            Self::Directory(directory) => {
                let path = directory.join(FILES[index]);
                std::fs::read(&path).map(Cow::Owned).map_err(|reason| MissingFont { path, reason })
            }
        }
    }
}

/// The content of the [`FILES`].
pub(super) fn files() -> Result<[Cow<'static, [u8]>; 4], MissingFont> {
    #[cfg(test)]
    let fonts = FONTS.get_or_init(Fonts::embedded);
    #[cfg(not(test))]
    let fonts = FONTS.get().expect("whoever draws installs fonts when it starts");
    Ok([fonts.file(0)?, fonts.file(1)?, fonts.file(2)?, fonts.file(3)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_font_is_told_with_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        for file in &FILES[..3] {
            std::fs::write(directory.path().join(file), "a font").expect("written");
        }
        let told = Fonts::of(directory.path()).expect_err("one is missing").to_string();
        assert!(told.contains("Twemoji.ttf") && told.contains("FontsLayer") && told.contains("FONTS_DIR"), "{told}");
        std::fs::write(directory.path().join(FILES[3]), "a font").expect("written");
        assert!(Fonts::of(directory.path()).is_ok());
    }
}
