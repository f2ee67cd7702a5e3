// Package model is a small model of the engine on River: how attempts of jobs begin and commit targets, complete their
// job, die, freeze, wake and are rescued. It has tests only. They visit every state that a few workers, jobs and faults
// can reach, in any order, and check the properties that ../DESIGN.md names. A model without one of the fences breaks
// one. Begin at configuration.steps.
package model
