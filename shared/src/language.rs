//! In which languages a text can be, by its letters: enough to tell what a model that reads English does not understand.

/// Whether a text can be in one of these languages, as ISO 639 codes; in any when there are none. Only its alphabet is looked at: a French
/// prompt passes for English, which such models understand well enough.
pub fn is_in(text: &str, languages: &[String]) -> bool {
    languages.is_empty() || text.chars().filter(|c| c.is_alphabetic()).all(|c| fits(c, languages))
}

fn fits(letter: char, languages: &[String]) -> bool {
    let any = |codes: &[&str]| languages.iter().any(|language| codes.contains(&language.as_str()));
    match letter {
        '\u{0400}'..='\u{052f}' => any(&["ru", "uk", "be", "bg", "sr", "mk", "kk", "ky", "mn", "tg"]),
        '\u{0370}'..='\u{03ff}' => any(&["el"]),
        '\u{0590}'..='\u{05ff}' => any(&["he", "yi"]),
        '\u{0600}'..='\u{06ff}' => any(&["ar", "fa", "ur"]),
        '\u{3040}'..='\u{30ff}' => any(&["ja"]),
        '\u{ac00}'..='\u{d7af}' | '\u{1100}'..='\u{11ff}' => any(&["ko"]),
        '\u{4e00}'..='\u{9fff}' => any(&["zh", "ja"]),
        '\0'..='\u{024f}' | '\u{1e00}'..='\u{1eff}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_tells() {
        let english = ["en".to_owned()];
        for text in ["a red fox, 4k", "Müller café – naïve", "", "🦊 12:30", "a sign that says OK"] {
            assert!(is_in(text, &english), "{text}");
        }
        for text in ["лиса в снегу", "a sign that says «Привет»", "一只狐狸", "ثعلب", "αλεπού", "きつね", "여우"]
        {
            assert!(!is_in(text, &english), "{text}");
            assert!(is_in(text, &[]), "{text}");
        }
        assert!(is_in("一只狐狸 fox", &["en".to_owned(), "zh".to_owned()]));
        assert!(is_in("лиса", &["ru".to_owned()]));
    }
}
