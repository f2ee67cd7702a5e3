package postgres

import (
	"fmt"
	"strconv"
	"strings"
)

// DumpCommand returns the pg_dump command that writes the store to a file, without the password of the DSN.
func DumpCommand(o Options, file string) (string, error) {
	return clientCommand(o, func(schema string) []string {
		return []string{"pg_dump", "--schema", schema, "--format", "custom", "--file", file}
	})
}

// RestoreCommand returns the pg_restore command that replaces the store by what DumpCommand wrote.
func RestoreCommand(o Options, file string) (string, error) {
	return clientCommand(o, func(string) []string {
		return []string{"pg_restore", "--clean", "--if-exists", "--single-transaction", file}
	})
}

// clientCommand is a command of Postgres's own clients for the database of the DSN.
func clientCommand(o Options, words func(schema string) []string) (string, error) {
	c, err := newConnector(o.DSN, o.Schema)
	if err != nil {
		return "", err
	}
	all := words(c.schema)
	all = append([]string{
		all[0], "--host", c.conf.Host, "--port", strconv.Itoa(int(c.conf.Port)), "--username", c.conf.User,
		"--dbname", c.conf.Database,
	}, all[1:]...)
	for i := range all {
		all[i] = shellWord(all[i])
	}
	return strings.Join(all, " "), nil
}

// shellWord quotes a word for a POSIX shell if it needs quotes.
func shellWord(s string) string {
	plain := strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,") == ""
	if plain && s != "" {
		return s
	}
	return fmt.Sprintf("'%s'", strings.ReplaceAll(s, "'", `'\''`))
}
