//! Wishes cut into terms.

use super::super::Rgb;
use super::words::{self, Term};

/// A term and the words that said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) term: Term,
    pub(super) said: String,
}

/// More than anybody wishes; bounds the work.
const MAX_CHARS: usize = 2_000;

/// The clauses of the wishes: what stands between commas, full stops and line ends. Words that say nothing are left out.
pub(super) fn clauses(wishes: &str) -> Vec<Vec<Token>> {
    let text: Vec<char> = wishes.chars().take(MAX_CHARS).flat_map(char::to_lowercase).map(plain).collect();
    let mut clauses = vec![Vec::new()];
    let mut rest = &text[..];
    while let Some(first) = rest.first() {
        let length = token_length(rest);
        let (word, after) = rest.split_at(length);
        let word: String = word.iter().collect();
        if matches!(first, ',' | ';' | '.' | '!' | '?' | '\n' | '(' | ')') {
            clauses.push(Vec::new());
        } else if !first.is_whitespace()
            && !words::is_filler(&word)
            && let (Some(term), Some(clause)) = (term(&word), clauses.last_mut())
        {
            clause.push(Token { term, said: word });
        }
        rest = after;
    }
    clauses.retain(|clause| !clause.is_empty());
    clauses.into_iter().map(shaded).collect()
}

fn plain(character: char) -> char {
    match character {
        'ё' => 'е',
        '’' | 'ʼ' => '\'',
        other => other,
    }
}

fn token_length(rest: &[char]) -> usize {
    let run = |belongs: fn(&char) -> bool| rest.iter().take_while(|character| belongs(character)).count();
    match rest {
        ['#', ..] => 1 + rest[1..].iter().take_while(|character| character.is_ascii_alphanumeric()).count(),
        [first, ..] if first.is_ascii_digit() => {
            let whole = run(char::is_ascii_digit);
            match rest.get(whole..) {
                // A fraction belongs to its number.
                Some(['.' | ',', digit, ..]) if digit.is_ascii_digit() => {
                    whole + 1 + rest[whole + 1..].iter().take_while(|character| character.is_ascii_digit()).count()
                }
                Some(_) | None => whole,
            }
        }
        [first, ..] if first.is_alphabetic() => run(|character| character.is_alphabetic() || *character == '\''),
        _ => 1,
    }
}

fn term(word: &str) -> Option<Term> {
    if let Some(colour) = Rgb::from_hex(word) {
        return Some(Term::Colour(colour));
    }
    if word.starts_with(|first: char| first.is_ascii_digit()) {
        let whole: String = word.chars().take_while(char::is_ascii_digit).collect();
        return Some(Term::Number(whole.parse().unwrap_or(u32::MAX)));
    }
    if word == "%" || word.starts_with(char::is_alphabetic) {
        return Some(words::term(word));
    }
    // Dashes, quotes and the like.
    None
}

/// Puts a shade and the colour after it together: `dark blue`, `тёмно-синий`.
fn shaded(clause: Vec<Token>) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::with_capacity(clause.len());
    for token in clause {
        if let Term::Colour(colour) = token.term
            && let Some(before) = tokens.last_mut()
            && let Term::Shade(towards) = before.term
        {
            before.term = Term::Colour(colour.shaded(towards));
            before.said = format!("{} {}", before.said, token.said);
        } else {
            tokens.push(token);
        }
    }
    tokens
}

/// The colour that a name stands for, with its shade.
pub(crate) fn colour_named(name: &str) -> Option<Rgb> {
    let clauses = clauses(name);
    let [clause] = &clauses[..] else { return None };
    let [Token { term: Term::Colour(colour), .. }] = &clause[..] else { return None };
    Some(*colour)
}
