// Package accounts knows which accounts there are: those of the configuration and the members of organizations,
// together a [Set]. A [Directory] lists the members, as a task of the runner. [Identities] knows which AWS account each
// block was, [Claims] which of several blocks collects an account, and a [Retirer] ends what belongs to accounts that
// left. It leaves the sign-in to package auth and the runs to package runner. Begin at [Directory.Resolve].
package accounts
