pub mod simulators;
