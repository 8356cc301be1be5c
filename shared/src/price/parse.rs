//! The tree of an expression.

use super::expression::MAX_DEPTH;
use super::ratio::Ratio;
use super::tokens::{Placed, Token, tokens};

/// One part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Number(Ratio),
    Text(String),
    Param(String),
    Not(Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Comparison(Comparison, Box<Node>, Box<Node>),
    Logic(Logic, Box<Node>, Box<Node>),
    /// `condition ? first : second`
    Choice(Box<Node>, Box<Node>, Box<Node>),
    Rounding(Rounding, Box<Node>),
    /// Of one value or more.
    Extreme(Extreme, Box<Node>, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Plus,
    Minus,
    Times,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logic {
    And,
    Or,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    Ceil,
    Floor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extreme {
    Min,
    Max,
}

/// Reads an expression; or says what is wrong, and where.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let node = parser.choice()?;
    match parser.tokens.get(parser.next) {
        Some(Placed { token, at }) => Err(format!("character {at}: {} is not expected here", token.told())),
        None => Ok(node),
    }
}

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<", Comparison::Less),
    ("<=", Comparison::AtMost),
    (">", Comparison::Greater),
    (">=", Comparison::AtLeast),
];

type Parsed = Result<Node, String>;

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|placed| &placed.token)
    }

    fn take(&mut self, symbol: &'static str) -> bool {
        let is_next = self.peek() == Some(&Token::Symbol(symbol));
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), String> {
        if self.take(symbol) { Ok(()) } else { Err(self.wrong(&format!("`{symbol}`"))) }
    }

    fn wrong(&self, expected: &str) -> String {
        match self.tokens.get(self.next) {
            Some(Placed { token, at }) => format!("character {at}: {expected} is expected here, not {}", token.told()),
            None => format!("it ends too early: {expected} is expected at its end"),
        }
    }

    /// One level further in.
    fn inside(&mut self, part: fn(&mut Self) -> Parsed) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep: make it simpler"));
        }
        let node = part(self);
        self.depth -= 1;
        node
    }

    fn choice(&mut self) -> Parsed {
        let condition = self.either()?;
        if !self.take("?") {
            return Ok(condition);
        }
        let first = self.inside(Self::choice)?;
        self.expect(":")?;
        let second = self.inside(Self::choice)?;
        Ok(Node::Choice(Box::new(condition), Box::new(first), Box::new(second)))
    }

    fn either(&mut self) -> Parsed {
        let mut node = self.both()?;
        while self.take("||") {
            node = Node::Logic(Logic::Or, Box::new(node), Box::new(self.both()?));
        }
        Ok(node)
    }

    fn both(&mut self) -> Parsed {
        let mut node = self.comparison()?;
        while self.take("&&") {
            node = Node::Logic(Logic::And, Box::new(node), Box::new(self.comparison()?));
        }
        Ok(node)
    }

    fn take_one_of<T: Copy>(&mut self, symbols: &[(&'static str, T)]) -> Option<T> {
        symbols.iter().find_map(|(symbol, meaning)| self.take(symbol).then_some(*meaning))
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.sum()?;
        let Some(comparison) = self.take_one_of(&COMPARISONS) else { return Ok(left) };
        let node = Node::Comparison(comparison, Box::new(left), Box::new(self.sum()?));
        let at = self.tokens.get(self.next).map(|placed| placed.at);
        match (self.take_one_of(&COMPARISONS), at) {
            (Some(_), Some(at)) => Err(format!("character {at}: one comparison follows another: join them with `&&`")),
            (Some(_) | None, _) => Ok(node),
        }
    }

    fn sum(&mut self) -> Parsed {
        self.chain(&[("+", Arithmetic::Plus), ("-", Arithmetic::Minus)], Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.chain(&[("*", Arithmetic::Times), ("/", Arithmetic::Over)], Self::signed)
    }

    fn chain(&mut self, operators: &[(&'static str, Arithmetic)], part: fn(&mut Self) -> Parsed) -> Parsed {
        let mut node = part(self)?;
        while let Some(operator) = self.take_one_of(operators) {
            node = Node::Arithmetic(operator, Box::new(node), Box::new(part(self)?));
        }
        Ok(node)
    }

    fn signed(&mut self) -> Parsed {
        if self.take("!") {
            return Ok(Node::Not(Box::new(self.inside(Self::signed)?)));
        }
        if self.take("-") {
            let negative = self.inside(Self::signed)?;
            return Ok(Node::Arithmetic(Arithmetic::Minus, Box::new(Node::Number(Ratio::ZERO)), Box::new(negative)));
        }
        self.value()
    }

    fn value(&mut self) -> Parsed {
        if self.take("(") {
            let node = self.inside(Self::choice)?;
            self.expect(")")?;
            return Ok(node);
        }
        let node = match self.peek() {
            Some(Token::Number(number)) => Node::Number(*number),
            Some(Token::Text(text)) => Node::Text(text.clone()),
            Some(Token::Name(name)) => {
                let name = name.clone();
                return self.named(name);
            }
            Some(Token::Symbol(_)) | None => return Err(self.wrong("a value")),
        };
        self.next += 1;
        Ok(node)
    }

    fn named(&mut self, name: String) -> Parsed {
        let at = self.tokens.get(self.next).map_or(0, |placed| placed.at);
        self.next += 1;
        if self.take("(") { self.call(&name, at) } else { Ok(Node::Param(name)) }
    }

    fn call(&mut self, name: &str, at: usize) -> Parsed {
        let first = self.inside(Self::choice)?;
        let mut more = Vec::new();
        while self.take(",") {
            more.push(self.inside(Self::choice)?);
        }
        self.expect(")")?;
        match (name, more.is_empty()) {
            ("min", _) => Ok(Node::Extreme(Extreme::Min, Box::new(first), more)),
            ("max", _) => Ok(Node::Extreme(Extreme::Max, Box::new(first), more)),
            ("ceil", true) => Ok(Node::Rounding(Rounding::Ceil, Box::new(first))),
            ("floor", true) => Ok(Node::Rounding(Rounding::Floor, Box::new(first))),
            ("ceil" | "floor", false) => Err(format!("character {at}: `{name}` takes one value")),
            (unknown, _) => {
                Err(format!("character {at}: there is no function `{unknown}`; there are `min`, `max`, `ceil`, `floor`"))
            }
        }
    }
}
